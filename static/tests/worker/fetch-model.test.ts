import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, test, vi } from 'vitest';

import type { FileEntry } from '../../shared/manifest';
import { ModelFetcher } from '../../worker/files/fetch-model';
import { MemoryStore } from '../../worker/files/store-memory';

// Node 20 has no navigator; a browser without locks has one without `locks`.
beforeAll(() => {
  vi.stubGlobal('navigator', {});
});

const CHUNK = 4;
const CONTENT = '0123456789';

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function entryFor(content: string): FileEntry {
  const chunks = content.match(/[^]{1,4}/g) ?? [];
  return {
    name: 'weights',
    sizeBytes: content.length,
    sha256: hash(content),
    chunks: chunks.map(hash),
  };
}

const entry = entryFor(CONTENT);

/** A server that gives one body after another, the last one for ever; null cuts the connection. */
function serving(...bodies: (string | null)[]) {
  const asked: string[] = [];
  const fetchFile = (url: string) => {
    asked.push(url);
    const body = bodies.length > 1 ? bodies.shift() : bodies[0];
    if (body === null || body === undefined) return Promise.reject(new TypeError('cut'));
    return Promise.resolve(new Response(inPieces(body)));
  };
  return { asked, fetchFile: fetchFile as unknown as typeof fetch };
}

/** The text in pieces of three bytes, which is no divisor of the chunk size. */
function inPieces(text: string): ReadableStream<Uint8Array> {
  const pieces = text.match(/[^]{1,3}/g) ?? [];
  return new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(new TextEncoder().encode(piece));
      controller.close();
    },
  });
}

const ignore = () => {};

test('a file is fetched, counted and stored', async () => {
  const store = new MemoryStore();
  const { asked, fetchFile } = serving(CONTENT);
  let bytes = 0;
  const fetcher = new ModelFetcher('tiny', store, fetchFile);
  const blob = await fetcher.file(entry, CHUNK, (added) => {
    bytes += added;
  });
  expect(await blob.text()).toBe(CONTENT);
  expect(bytes).toBe(CONTENT.length);
  expect(asked).toEqual(['/models/tiny/weights']);
  expect(await (await store.open(entry.sha256))?.text()).toBe(CONTENT);
});

test('a stored file is not fetched again', async () => {
  const store = new MemoryStore();
  await new ModelFetcher('tiny', store, serving(CONTENT).fetchFile).file(entry, CHUNK, ignore);
  const { asked, fetchFile } = serving(null);
  const blob = await new ModelFetcher('tiny', store, fetchFile).file(entry, CHUNK, ignore);
  expect(await blob.text()).toBe(CONTENT);
  expect(asked).toEqual([]);
});

describe('a damaged file', () => {
  const damaged = { flipped: '0123x56789', short: '01234567', long: `${CONTENT}more`, empty: '' };

  test.each(Object.entries(damaged))('that is %s is fetched once more', async (_, body) => {
    let bytes = 0;
    const fetcher = new ModelFetcher('tiny', new MemoryStore(), serving(body, CONTENT).fetchFile);
    const blob = await fetcher.file(entry, CHUNK, (added) => {
      bytes += added;
    });
    expect(await blob.text()).toBe(CONTENT);
    expect(bytes).toBe(CONTENT.length);
  });

  test.each(Object.entries(damaged))('that stays %s is named, not stored', async (_, body) => {
    const store = new MemoryStore();
    const fetcher = new ModelFetcher('tiny', store, serving(body).fetchFile);
    await expect(fetcher.file(entry, CHUNK, ignore)).rejects.toMatchObject({
      kind: 'damaged',
      message: expect.stringContaining('weights') as string,
    });
    expect(await store.open(entry.sha256)).toBeNull();
  });
});

test('a store that refuses is made up for by memory', async () => {
  const store = new MemoryStore();
  store.create = () => Promise.reject(new DOMException('full', 'QuotaExceededError'));
  const fetcher = new ModelFetcher('tiny', store, serving(CONTENT).fetchFile);
  expect(await (await fetcher.file(entry, CHUNK, ignore)).text()).toBe(CONTENT);
  expect(fetcher.lasting).toBe(false);
});

test('an HTTP error is the server’s, with its status', async () => {
  const fetchFile = () => Promise.resolve(new Response('', { status: 404 }));
  const fetcher = new ModelFetcher('tiny', new MemoryStore(), fetchFile);
  await expect(fetcher.file(entry, CHUNK, ignore)).rejects.toMatchObject({
    kind: 'server',
    message: expect.stringContaining('404') as string,
  });
});

describe('the manifest', () => {
  const manifest = JSON.stringify({
    ...{ schema: 1, id: 'tiny', name: 'Tiny', context_length: 8, chunk_bytes: CHUNK },
    sampling: { temperature: 0, top_p: 1, top_k: 0 },
    system_prompt: null,
    prompt_format: { prefix: '', roles: {}, generation: '', end: [], control: [] },
    files: {
      weights: { size: entry.sizeBytes, sha256: entry.sha256, chunks: entry.chunks },
    },
    variants: { wasm: { files: ['weights'] } },
  });

  test('of an earlier visit serves while the server is away', async () => {
    const store = new MemoryStore();
    const first = new ModelFetcher('tiny', store, serving(manifest).fetchFile);
    expect(await first.manifest()).toMatchObject({ fresh: true, manifest: { name: 'Tiny' } });
    const second = new ModelFetcher('tiny', store, serving(null).fetchFile);
    expect(await second.manifest()).toMatchObject({ fresh: false, manifest: { name: 'Tiny' } });
  });

  test('that was never seen is a network error', async () => {
    const fetcher = new ModelFetcher('tiny', new MemoryStore(), serving(null).fetchFile);
    await expect(fetcher.manifest()).rejects.toMatchObject({ kind: 'network' });
  });

  test('decides which stored files stay', async () => {
    const store = new MemoryStore();
    const old = entryFor('old');
    const fetcher = new ModelFetcher('tiny', store, serving('old', CONTENT, manifest).fetchFile);
    await fetcher.file(old, CHUNK, ignore);
    await fetcher.file(entry, CHUNK, ignore);
    await fetcher.manifest();
    await fetcher.prune();
    expect(await store.open(old.sha256)).toBeNull();
    expect(await store.open(entry.sha256)).not.toBeNull();
  });
});

test('a stored file that has changed meanwhile is fetched again', async () => {
  const store = new MemoryStore();
  const writer = await store.create(entry.sha256);
  writer.write(new TextEncoder().encode(CONTENT.replace('5', 'x')));
  await writer.commit();
  const { asked, fetchFile } = serving(CONTENT);
  const blob = await new ModelFetcher('tiny', store, fetchFile).file(entry, CHUNK, ignore);
  expect(await blob.text()).toBe(CONTENT);
  expect(asked).toHaveLength(1);
});
