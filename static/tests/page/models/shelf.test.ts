import { readFileSync } from 'node:fs';

import { expect, test, vi } from 'vitest';

import { ServerCatalogue } from '../../../page/models/catalogue';
import { fitOf } from '../../../page/models/fit';
import { Shelf } from '../../../page/models/shelf';

const DEMO = new URL(
  '../../../../webapp/localphi/models/bundled/localphi-demo/localphi.json',
  import.meta.url,
);
const MANIFEST = readFileSync(DEMO, 'utf8');
const SOURCE = { device: 'server-cpu', repo: 'r', note: '', here: false, for_this_server: true };
const MODEL = { name: 'Phi', about: 'Small.', license: 'MIT', context_length: 4096 };
const PULL = { id: 'phi', model: 'Phi', bytes_per_s: 5, left_s: 2.5, note: '', error: null };

/** A server whose only fetch goes as these events say. */
function serverWith(events: readonly object[], calls: string[] = []): ServerCatalogue {
  const answers: Record<string, () => Response> = {
    'GET /v1/models': () => Response.json({ data: [{ id: 'localphi-demo' }, { id: 'demo:hi' }] }),
    'GET /models/localphi-demo/localphi.json': () => new Response(MANIFEST),
    'GET /models/demo/localphi.json': () => new Response(MANIFEST),
    'GET /engines': () => Response.json({ memory_budget_bytes: 8e9 }),
    'GET /pulls': () => Response.json({ pulls: [] }),
    'GET /catalogue': () =>
      Response.json({
        models: [
          {
            ...MODEL,
            id: 'phi',
            sources: [
              { ...SOURCE, id: 'phi', about_bytes: 2e9 },
              { ...SOURCE, id: 'phi-cuda', about_bytes: null, for_this_server: false },
            ],
          },
        ],
      }),
    'POST /pulls/phi': () => Response.json({ ...PULL, ...events[0] }),
    'GET /pulls/phi': () =>
      new Response(
        events.map((event) => `data: ${JSON.stringify({ ...PULL, ...event })}\n\n`).join(''),
      ),
    'POST /pulls/other': () =>
      Response.json({ error: { message: 'phi is being fetched.' } }, { status: 409 }),
  };
  return new ServerCatalogue((input, init) => {
    const call = `${init?.method ?? 'GET'} ${input as string}`;
    calls.push(call);
    const answer = answers[call];
    return Promise.resolve(answer?.() ?? new Response('', { status: 404 }));
  });
}

test('the shelf shows what the server has and what fits it', async () => {
  const shelf = new Shelf(serverWith([]));
  await shelf.refresh();
  expect(shelf.problem.value).toBeNull();
  const { models = [], catalogue, memoryBytes } = shelf.stock.value ?? {};
  expect(memoryBytes).toBe(8e9);
  expect(models[0]).toEqual({
    ...{ id: 'localphi-demo', name: 'localphi demo', licence: 'MIT', contextLength: 2048 },
    ...{ sizeBytes: 7123968, tokenBytes: 6144, forBrowsers: true },
    browserTokenBytes: 6144,
  });
  expect(models[1]).toMatchObject({
    id: 'demo:hi',
    name: 'localphi demo · hi',
    forBrowsers: false,
  });
  expect(catalogue).toEqual([
    {
      ...{ sourceId: 'phi', name: 'Phi', about: 'Small.', licence: 'MIT', contextLength: 4096 },
      ...{ sizeBytes: 2e9, here: false },
    },
  ]);
  expect(await shelf.model('localphi-demo')).toBe(models[0]);
  expect(await shelf.model('unknown')).toBeNull();
});

test('a fetch is followed to its end, and then the models are asked for again', async () => {
  const calls: string[] = [];
  const shelf = new Shelf(
    serverWith(
      [
        { status: 'fetching', done_bytes: 1, total_bytes: 4 },
        { status: 'done', done_bytes: 4, total_bytes: 4 },
      ],
      calls,
    ),
  );
  await shelf.get('phi');
  await vi.waitFor(() => {
    expect(shelf.pulls.value.get('phi')?.status).toBe('done');
    expect(shelf.stock.value).not.toBeNull();
  });
  expect(calls.filter((call) => call === 'GET /pulls/phi')).toHaveLength(1);
});

test('what the server refuses is told in its words', async () => {
  const shelf = new Shelf(serverWith([]));
  await shelf.get('other');
  expect(shelf.problem.value).toBe('phi is being fetched.');
});

test('a model fits by its weights and something beside them', () => {
  expect(fitOf(2e9, 8e9)).toBe('fits');
  expect(fitOf(6e9, 8e9)).toBe('tight');
  expect(fitOf(7e9, 8e9)).toBe('too-big');
  expect(fitOf(null, 8e9)).toBe('unknown');
  expect(fitOf(2e9, null)).toBe('unknown');
});
