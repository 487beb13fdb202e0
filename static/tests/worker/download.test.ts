import { describe, expect, test, vi } from 'vitest';

import { LocalphiError } from '../../shared/errors';
import { missingChunks } from '../../worker/files/chunks';
import { download } from '../../worker/files/download';
import type { Pace } from '../../worker/files/download';
import { Gate } from '../../worker/files/gate';
import type { StoredFile } from '../../worker/files/store';
import { MemoryStore } from '../../worker/files/store-memory';
import { CONTENT, PACE, body, broken, entry, serving } from './files';

interface Change {
  readonly pace?: Partial<Pace>;
  readonly gate?: Gate;
  readonly signal?: AbortSignal;
  readonly stored?: StoredFile;
}

async function run({ fetch }: { fetch: typeof globalThis.fetch }, change: Change = {}) {
  const stored = change.stored ?? (await new MemoryStore().open(entry));
  const told = { bytes: 0, retried: false };
  const source = { url: '/weights', cache: 'no-store', fetch } as const;
  const done = download(entry, stored, source, {
    pace: { ...PACE, ...change.pace },
    gate: change.gate ?? new Gate(),
    signal: change.signal ?? new AbortController().signal,
    onBytes: (bytes) => {
      told.bytes += bytes;
    },
    onRetry: (retrying) => {
      told.retried ||= retrying;
    },
  });
  return { stored, told, done };
}

async function textOf(stored: StoredFile): Promise<string> {
  return (await stored.blob()).text();
}

test('each chunk is asked for by its range, and counted', async () => {
  const server = serving();
  const { stored, told, done } = await run(server);
  await done;
  expect(server.ranges).toEqual(['bytes=0-3', 'bytes=4-7', 'bytes=8-9']);
  expect(await textOf(stored)).toBe(CONTENT);
  expect(told).toEqual({ bytes: 10, retried: false });
});

test('only what is missing is asked for', async () => {
  const server = serving();
  const stored = await new MemoryStore().open(entry);
  await stored.commit(1, new TextEncoder().encode('4567'));
  await (
    await run(server, { stored })
  ).done;
  expect(server.ranges).toEqual(['bytes=0-3', 'bytes=8-9']);
});

test.each([
  ['goes on', 2, 'bytes=6-7', 8],
  ['begins anew where it cannot be read', 1, 'bytes=4-7', 8],
])('a part of a chunk that was kept %s', async (_, readable, range, bytes) => {
  const server = serving();
  const stored = await new MemoryStore().open(entry);
  const { filled, read } = { filled: stored.filled.bind(stored), read: stored.read.bind(stored) };
  let part = 2;
  stored.filled = (chunk) => (chunk === 1 && filled(1) === 0 ? part : filled(chunk));
  stored.read = (chunk) =>
    chunk === 1 ? Promise.resolve(new TextEncoder().encode('45').slice(0, readable)) : read(chunk);
  stored.discard = () => {
    part = 0;
    return Promise.resolve();
  };
  const { told, done } = await run(server, { stored });
  await done;
  expect(server.ranges).toEqual(['bytes=0-3', range, 'bytes=8-9']);
  expect(told.bytes).toBe(bytes);
  expect(await textOf(stored)).toBe(CONTENT);
});

test('several chunks come at the same time', async () => {
  let open = 0;
  let most = 0;
  const server = serving();
  const fetch = (async (url: string, init: RequestInit) => {
    most = Math.max(most, ++open);
    await new Promise((resolve) => setTimeout(resolve, 5));
    open -= 1;
    return server.fetch(url, init);
  }) as typeof globalThis.fetch;
  const { stored, done } = await run({ fetch }, { pace: { lanes: 2 } });
  await done;
  expect(most).toBe(2);
  expect(await textOf(stored)).toBe(CONTENT);
});

describe('a connection that is cut', () => {
  test.each([0, 1, 2, 3])('after %i bytes of a chunk goes on there', async (bytes) => {
    const server = serving(({ from, range }, count) =>
      count === 2 ? broken(from, bytes, range) : CONTENT,
    );
    const { stored, told, done } = await run(server);
    await done;
    expect(server.ranges[2]).toBe(`bytes=${4 + bytes}-7`);
    expect(await textOf(stored)).toBe(CONTENT);
    expect(told).toEqual({ bytes: 10, retried: true });
  });

  test('and never comes back is an error in the end', async () => {
    const server = serving(({ from }) => (from === 4 ? null : CONTENT));
    const { stored, done } = await run(server);
    await expect(done).rejects.toMatchObject({ kind: 'network' });
    expect(server.asked).toHaveLength(1 + 1 + PACE.backoffMs.length);
    expect(missingChunks(entry, stored)).toEqual([1, 2]); // what is whole stays
  });

  test('again and again is no error while something comes each time', async () => {
    const server = serving(({ from, range }) => broken(from, 1, range));
    const { stored, done } = await run(server, { pace: { backoffMs: [0, 0] } });
    await done;
    expect(await textOf(stored)).toBe(CONTENT);
  });

  test('because nothing came for long is tried again', async () => {
    vi.useFakeTimers();
    const server = serving();
    const hanging = ((url: string, init: RequestInit) =>
      server.fetch(url, init).then((response) => {
        if (server.asked.length > 1) return response;
        const stuck = new ReadableStream({
          start(controller) {
            init.signal!.addEventListener('abort', () => {
              controller.error(init.signal!.reason);
            });
          },
        });
        return new Response(stuck, { status: 206 });
      })) as typeof globalThis.fetch;
    const { stored, told, done } = await run({ fetch: hanging });
    await vi.advanceTimersByTimeAsync(1100);
    vi.useRealTimers();
    await done;
    expect(told.retried).toBe(true);
    expect(await textOf(stored)).toBe(CONTENT);
  });
});

describe('a damaged chunk', () => {
  test('comes again, alone', async () => {
    const server = serving((_, count) => (count === 2 ? '0123x56789' : CONTENT));
    const { stored, told, done } = await run(server);
    await done;
    expect(server.ranges).toEqual(['bytes=0-3', 'bytes=4-7', 'bytes=4-7', 'bytes=8-9']);
    expect(await textOf(stored)).toBe(CONTENT);
    expect(told.bytes).toBe(10);
  });

  test('that stays damaged is named with its place', async () => {
    const { done } = await run(serving(() => '0123x56789'));
    await expect(done).rejects.toMatchObject({
      kind: 'damaged',
      message: expect.stringContaining('weights (part 2 of 3)') as string,
    });
  });
});

describe('what the server says', () => {
  const answering = (status: number, headers = {}) =>
    serving((_, count) => (count === 1 ? new Response('', { status, headers }) : CONTENT));

  test.each([503, 429, 500])('%i is tried again', async (status) => {
    const { stored, done } = await run(answering(status));
    await done;
    expect(await textOf(stored)).toBe(CONTENT);
  });

  test.each([404, 403, 416])('%i is an error at once', async (status) => {
    const server = answering(status);
    const { done } = await run(server);
    await expect(done).rejects.toMatchObject({
      kind: 'server',
      message: expect.stringContaining(String(status)) as string,
    });
    expect(server.asked).toHaveLength(1);
  });

  test('without ranges is an error, not the wrong bytes', async () => {
    const { done } = await run(serving(() => new Response(body(CONTENT))));
    await expect(done).rejects.toThrow('whole files only');
  });

  test('with another range is an error', async () => {
    const headers = { 'Content-Range': 'bytes 4-7/10' };
    const { done } = await run(serving(() => new Response(body('4567'), { status: 206, headers })));
    await expect(done).rejects.toThrow('wanted bytes 0-3, got bytes 4-7/10');
  });
});

test('a pause holds everything until it is over, and loses nothing', async () => {
  const gate = new Gate();
  const server = serving(({ from }, count) => {
    gate.closed = from === 4 && count === 2;
    return CONTENT;
  });
  const { stored, told, done } = await run(server, { gate });
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(server.ranges).toEqual(['bytes=0-3', 'bytes=4-7']);
  gate.closed = false;
  await done;
  expect(server.ranges.slice(2)).toEqual(['bytes=4-7', 'bytes=8-9']);
  expect(await textOf(stored)).toBe(CONTENT);
  expect(told.retried).toBe(false);
});

test('a stop ends it, with what is whole kept', async () => {
  const stop = new AbortController();
  const server = serving(({ from }) => {
    if (from === 4) stop.abort(new LocalphiError('stopped', 'enough'));
    return CONTENT;
  });
  const { stored, done } = await run(server, { signal: stop.signal });
  await expect(done).rejects.toThrow('enough');
  expect(missingChunks(entry, stored)).toEqual([1, 2]);
});

test('when one chunk fails for good, the others are given up', async () => {
  const server = serving(({ from }) => (from === 0 ? new Response('', { status: 404 }) : CONTENT));
  const hanging = ((url: string, init: RequestInit) =>
    url && new Headers(init.headers).get('Range') === 'bytes=0-3'
      ? server.fetch(url, init)
      : new Promise((_, reject) => {
          init.signal!.addEventListener('abort', () => {
            reject(init.signal!.reason as Error);
          });
        })) as typeof globalThis.fetch;
  const { done } = await run({ fetch: hanging }, { pace: { lanes: 3 } });
  await expect(done).rejects.toMatchObject({ kind: 'server' });
});

test('what a store refuses is passed on as it is', async () => {
  const stored = await new MemoryStore().open(entry);
  stored.commit = () => Promise.reject(new DOMException('full', 'QuotaExceededError'));
  const { done } = await run(serving(), { stored });
  await expect(done).rejects.toMatchObject({ name: 'QuotaExceededError' });
});
