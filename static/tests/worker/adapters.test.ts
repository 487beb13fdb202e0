import { createHash } from 'node:crypto';

import { expect, test } from 'vitest';

import type { FileEntry, Manifest, Variant } from '../../shared/manifest';
import { Adapters, baseOf } from '../../worker/adapters';

const { signal } = new AbortController();

function file(name: string): FileEntry {
  return { name, sha256: name.repeat(3), sizeBytes: 1, chunkBytes: 10, chunks: [] };
}

function manifestWith(files: readonly string[], lora: string | null = null): Manifest {
  const variant: Partial<Variant> = { files: files.map(file), lora: lora ? file(lora) : null };
  const variants = new Map([['server-cpu', variant]]);
  return { id: 'tiny', variants } as unknown as Manifest;
}

const MANIFEST = manifestWith(['b.data', 'a.data', 'model.onnx']);
const hash = (text: string | Uint8Array) => createHash('sha256').update(text).digest('hex');
const WEIGHTS = new TextEncoder().encode('no adapter at all');
const POEMS = { name: 'poems', base: await baseOf(MANIFEST), sha256: hash(WEIGHTS) };

/** A server with these adapters; undefined for one that is away. */
function adaptersOf(listed: readonly object[] | undefined, weights: BodyInit = WEIGHTS) {
  const asked: string[] = [];
  const server = { listed, asked };
  const answer = (url: string) => {
    asked.push(url);
    if (server.listed === undefined) throw new TypeError('gone');
    return url.includes('?') ? new Response(weights) : Response.json({ adapters: server.listed });
  };
  const fetchUrl = (url: unknown) => Promise.resolve(url as string).then(answer);
  return { server, adapters: new Adapters(MANIFEST, fetchUrl) };
}

test('the base is a hash of the hashes of the weights', async () => {
  const lines = ['a.data a.dataa.dataa.data', 'b.data b.datab.datab.data'];
  expect(await baseOf(MANIFEST)).toBe(hash(lines.join('\n')));
  const inside = manifestWith(['x.onnx'], 'lora.onnx'); // weights in the graph
  const graphs = ['lora.onnx lora.onnxlora.onnxlora.onnx', 'x.onnx x.onnxx.onnxx.onnx'];
  expect(await baseOf(inside)).toBe(hash(graphs.join('\n')));
});

test('weights are asked for by their hash, and must have it', async () => {
  const { server, adapters } = adaptersOf([POEMS]);
  const found = await adapters.find('poems', { signal });
  expect(found.key).toBe(POEMS.sha256);
  await expect(found.load()).rejects.toThrow('does not begin as one'); // whole, and nonsense
  expect(server.asked).toEqual(['/adapters/tiny', `/adapters/tiny/poems?v=${POEMS.sha256}`]);
  const other = adaptersOf([POEMS], 'other bytes').adapters;
  await expect((await other.find('poems', { signal })).load()).rejects.toMatchObject({
    kind: 'adapter',
    message: "the weights of the adapter 'poems' came damaged: they have another hash",
  });
});

test.each([
  ['prose', [POEMS], "tiny has no adapter 'prose'; it has poems"],
  ['poems', [], "tiny has no adapter 'poems'; it has none"],
  ['poems', [{ ...POEMS, base: 'other' }], "the adapter 'poems' was made for other weights"],
])('what cannot be had is told: %s of %j', async (name, listed, message) => {
  const { adapters } = adaptersOf(listed);
  await expect(adapters.find(name, { signal })).rejects.toMatchObject({
    kind: 'adapter',
    message: expect.stringContaining(message) as string,
  });
});

test('a server that has gone is missed only by who has not asked it before', async () => {
  const { server, adapters } = adaptersOf([POEMS]);
  await adapters.find('poems', { signal });
  server.listed = undefined;
  expect((await adapters.find('poems', { signal })).key).toBe(POEMS.sha256);
  await expect(adapters.find('prose', { signal })).rejects.toMatchObject({
    kind: 'network',
    message: "the adapter 'prose' could not be fetched: gone",
  });
});

test('one that was made anew is another one', async () => {
  const { server, adapters } = adaptersOf([POEMS]);
  await adapters.find('poems', { signal });
  server.listed = [{ ...POEMS, sha256: 'new' }];
  expect((await adapters.find('poems', { signal })).key).toBe('new');
});
