import { expect, test } from 'vitest';

import { MemoryStore } from '../../worker/files/store-memory';

async function write(store: MemoryStore, sha256: string, ...parts: number[][]) {
  const writer = await store.create(sha256);
  for (const part of parts) writer.write(Uint8Array.from(part));
  return writer;
}

test('a file is there once it is committed', async () => {
  const store = new MemoryStore();
  const writer = await write(store, 'a', [1, 2], [3]);
  expect(await store.open('a')).toBeNull();
  await writer.commit();
  const blob = await store.open('a');
  expect(new Uint8Array(await blob!.arrayBuffer())).toEqual(Uint8Array.of(1, 2, 3));
});

test('bytes may be reused after they were written', async () => {
  const store = new MemoryStore();
  const writer = await store.create('a');
  const bytes = Uint8Array.of(1);
  writer.write(bytes);
  bytes[0] = 2;
  expect(new Uint8Array(await (await writer.commit()).arrayBuffer())).toEqual(Uint8Array.of(1));
});

test('an aborted file leaves nothing', async () => {
  const store = new MemoryStore();
  await (await write(store, 'a', [1])).abort();
  expect(await store.open('a')).toBeNull();
});

test('pruning keeps what it is told to', async () => {
  const store = new MemoryStore();
  await (await write(store, 'a', [1])).commit();
  await (await write(store, 'b', [1])).commit();
  await store.prune(new Set(['b']));
  expect(await store.open('a')).toBeNull();
  expect(await store.open('b')).not.toBeNull();
});
