import { beforeEach, describe, expect, test, vi } from 'vitest';

import { missingChunks } from '../../worker/files/chunks';
import { download } from '../../worker/files/download';
import { Gate } from '../../worker/files/gate';
import type { FileStore } from '../../worker/files/store';
import { openCacheStore } from '../../worker/files/store-cache';
import { MemoryStore } from '../../worker/files/store-memory';
import { openOpfsStore } from '../../worker/files/store-opfs';
import { FakeCaches } from './cache';
import { CONTENT, PACE, broken, entry, entryFor, serving } from './files';
import { FakeFileHandle, FakeFolder } from './folder';

let folder: FakeFolder;

beforeEach(() => {
  folder = new FakeFolder();
  vi.stubGlobal('FileSystemFileHandle', FakeFileHandle);
  vi.stubGlobal('caches', new FakeCaches());
  vi.stubGlobal('navigator', { storage: { getDirectory: () => Promise.resolve(folder) } });
});

const text = (part: string) => new TextEncoder().encode(part);

/** Whether opening it again shows what was written: memory lives as long as its store. */
const stores: [string, (earlier?: FileStore) => Promise<FileStore>][] = [
  ['the file system', async () => (await openOpfsStore())!],
  ['the cache', async () => (await openCacheStore())!],
  ['memory', (earlier) => Promise.resolve(earlier ?? new MemoryStore())],
];

describe.each(stores)('%s', (_, open) => {
  test('knows which chunks are whole, from one visit to the next', async () => {
    const store = await open();
    const first = await store.open(entry);
    expect(missingChunks(entry, first)).toEqual([0, 1, 2]);
    await first.reserve();
    await first.commit(2, text('89'));
    await first.commit(0, text('0123'));
    first.close();
    const again = await (await open(store)).open(entry);
    expect(missingChunks(entry, again)).toEqual([1]);
    expect(new TextDecoder().decode(await again.read(2))).toBe('89');
  });

  test('gives the file once all of it is there', async () => {
    const store = await open();
    const stored = await store.open(entry);
    const bytes = text('0123');
    await stored.commit(0, bytes);
    bytes.fill(0); // they may be reused
    await stored.commit(1, text('4567'));
    await stored.commit(2, text('89'));
    expect(await (await stored.blob()).text()).toBe(CONTENT);
    stored.close();
    stored.close();
  });

  test('forgets a chunk', async () => {
    const store = await open();
    const stored = await store.open(entry);
    await stored.commit(0, text('0123'));
    await stored.discard(0);
    stored.close();
    expect(missingChunks(entry, await (await open(store)).open(entry))).toEqual([0, 1, 2]);
  });

  test('remembers when a file was compared', async () => {
    const store = await open();
    const stored = await store.open(entry);
    await stored.commit(0, text('0123'));
    await stored.noteChecked(1234);
    expect(stored.checkedAtMs).toBe(1234);
    stored.close();
    if (store.kind !== 'memory') {
      expect((await (await open(store)).open(entry)).checkedAtMs).toBe(1234);
    }
  });

  test('takes chunks of another size for unknown or absent, never for whole', async () => {
    const store = await open();
    const stored = await store.open(entry);
    for (const [i, part] of ['0123', '4567', '89'].entries()) await stored.commit(i, text(part));
    stored.close();
    if (store.kind === 'memory') return;
    const other = entryFor(CONTENT, 5);
    expect(missingChunks(other, await (await open(store)).open(other))).toEqual([0, 1]);
  });

  test('lists what it keeps, and deletes it', async () => {
    const store = await open();
    const stored = await store.open(entry);
    await stored.commit(0, text('0123'));
    stored.close();
    await store.writeManifest('a model', 'text');
    await store.writeManifest('a model', 'txt');
    expect([...(await store.list()).keys()]).toEqual([entry.sha256]);
    expect(await store.manifests()).toEqual(new Map([['a model', 'txt']]));
    for (let twice = 0; twice < 2; twice++) {
      await store.remove(entry.sha256);
      await store.removeManifest('a model');
    }
    expect((await store.list()).size).toBe(0);
    expect((await store.manifests()).size).toBe(0);
  });
});

describe('the file system', () => {
  async function opened() {
    return (await openOpfsStore())!.open(entry);
  }

  test('keeps parts of a chunk, but not the last one', async () => {
    const stored = await opened();
    await stored.keepPart(1, text('45'));
    await stored.keepPart(1, text('4567')); // not compared yet
    stored.close();
    const again = await opened();
    expect(again.filled(1)).toBe(2);
    expect(new TextDecoder().decode(await again.read(1))).toBe('45');
    await again.commit(1, text('4567'));
    again.close();
    expect(missingChunks(entry, await opened())).toEqual([0, 2]);
  });

  test.each([1, 2, 3, 4, 5, 8])(
    'is told all that came before a cut after %i bytes',
    async (bytes) => {
      const whole = entryFor(CONTENT, CONTENT.length);
      const server = serving(({ from, range }, count) =>
        count === 1 ? broken(from, bytes, range) : CONTENT,
      );
      const stored = await (await openOpfsStore())!.open(whole);
      await download(
        whole,
        stored,
        { url: '/weights', cache: 'no-store', fetch: server.fetch },
        {
          pace: PACE,
          gate: new Gate(),
          signal: new AbortController().signal,
          onBytes: () => {},
          onRetry: () => {},
        },
      );
      expect(await (await stored.blob()).text()).toBe(CONTENT);
    },
  );

  test('says of a file without a journal that it is unknown, and adopts what is vouched for', async () => {
    folder.write(entry.sha256, text(CONTENT));
    folder.write(`${entry.sha256}.complete`, new Uint8Array(0)); // as before version 0.4
    const stored = await opened();
    expect(stored.unknown).toBe(true);
    expect(new TextDecoder().decode(await stored.read(1))).toBe('4567');
    await stored.vouch(1);
    stored.close();
    expect(missingChunks(entry, await opened())).toEqual([0, 2]);
    expect([...folder.files.keys()].filter((name) => name.endsWith('.complete'))).toEqual([]);
  });

  test.each([
    ['cut short', (bytes: Uint8Array<ArrayBuffer>) => bytes.slice(0, 20)],
    ['of another kind', (bytes: Uint8Array<ArrayBuffer>) => bytes.map((byte) => byte ^ 255)],
    ['that says more than a chunk has', (bytes: Uint8Array<ArrayBuffer>) => bytes.fill(255, 16)],
  ])('does not believe a journal %s', async (_, spoil) => {
    const stored = await opened();
    await stored.commit(0, text('0123'));
    stored.close();
    const name = `${entry.sha256}.journal`;
    folder.write(name, spoil(folder.files.get(name)!.bytes));
    expect((await opened()).unknown).toBe(true);
  });

  test('asks for all the space at once, and leaves nothing when it is refused', async () => {
    folder.room.left = 9;
    const stored = await opened();
    expect(stored.lackingBytes).toBe(10);
    await expect(stored.reserve()).rejects.toMatchObject({ name: 'QuotaExceededError' });
    expect([...folder.files.keys()]).toEqual([]);
  });

  test('does not give out a file that the browser cut down afterwards', async () => {
    const stored = await opened();
    for (const [i, part] of ['0123', '4567', '89'].entries()) await stored.commit(i, text(part));
    const file = folder.files.get(entry.sha256)!;
    file.bytes = file.bytes.slice(0, 6);
    await expect(stored.blob()).rejects.toMatchObject({ name: 'QuotaExceededError' });
  });

  test('waits for a tab that was closed a moment ago', async () => {
    const first = await opened();
    await first.reserve();
    setTimeout(() => {
      first.close();
    }, 150);
    const second = await opened();
    await second.commit(0, text('0123'));
    second.close();
  });
});
