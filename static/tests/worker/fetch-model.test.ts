import { beforeEach, describe, expect, test, vi } from 'vitest';

import { LocalphiError } from '../../shared/errors';
import type { LoadProgress } from '../../shared/protocol';
import { ModelFetcher } from '../../worker/files/fetch-model';
import {
  clearAway,
  keptManifest,
  removeModel,
  storageReport,
} from '../../worker/files/kept-models';
import type { FileStore } from '../../worker/files/store';
import { MemoryStore } from '../../worker/files/store-memory';
import { openOpfsStore } from '../../worker/files/store-opfs';
import { CHUNK, CONTENT, PACE, entry, entryFor, options, serving } from './files';
import type { Behaviour } from './files';
import { FakeFileHandle, FakeFolder } from './folder';
import { FakeLocks } from './lock-manager';

let folder: FakeFolder;
let store: FileStore;

beforeEach(async () => {
  folder = new FakeFolder();
  vi.stubGlobal('FileSystemFileHandle', FakeFileHandle);
  const storage = {
    getDirectory: () => Promise.resolve(folder),
    estimate: () => Promise.resolve({ usage: 5, quota: 100 }),
    persisted: () => Promise.resolve(true),
  };
  vi.stubGlobal('navigator', { storage, locks: new FakeLocks() });
  store = (await openOpfsStore())!;
});

function fetcherFor(behave?: Behaviour, around = {}, on: FileStore = store) {
  const server = serving(behave);
  const free = () => Promise.resolve(1000);
  const surroundings = { fetch: server.fetch, pace: PACE, freeBytes: free, ...around };
  return { server, fetcher: new ModelFetcher('tiny', on, surroundings) };
}

async function fetchOnce(behave?: Behaviour): Promise<string | undefined> {
  const blobs = await fetcherFor(behave).fetcher.files([entry], options());
  return blobs.get('weights')?.text();
}

/** Changes a byte of the stored file. */
function flip(at: number): void {
  folder.files.get(entry.sha256)!.bytes[at]! ^= 1;
}

test('files are fetched, counted and stored', async () => {
  const { server, fetcher } = fetcherFor();
  const told: LoadProgress[] = [];
  const blobs = await fetcher.files(
    [entry],
    options({ onProgress: (progress) => told.push(progress) }),
  );
  expect(await blobs.get('weights')?.text()).toBe(CONTENT);
  expect(new Set(server.asked)).toEqual(new Set([`/models/tiny/weights?v=${entry.sha256}`]));
  expect(told.at(-1)).toMatchObject({ stage: 'session', loadedBytes: 10, totalBytes: 10 });
  expect(fetcher.lasting).toBe(true);
  expect(await fetchOnce(() => null)).toBe(CONTENT); // without the server
});

test('what one visit did not finish the next one does', async () => {
  const first = fetcherFor(({ from }) => (from === 4 ? null : CONTENT));
  await expect(first.fetcher.files([entry], options())).rejects.toMatchObject({ kind: 'network' });
  const second = fetcherFor();
  await second.fetcher.files([entry], options());
  expect(second.server.ranges).toEqual(['bytes=4-7', 'bytes=8-9']);
});

test('the largest file comes first', async () => {
  const other = { ...entryFor('ab'), name: 'config' };
  const { server, fetcher } = fetcherFor((_, count) => (count > 3 ? 'ab' : CONTENT));
  const blobs = await fetcher.files([other, entry], options());
  expect(server.asked.map((url) => url.split('/').at(-1)?.split('?')[0])).toEqual([
    ...['weights', 'weights', 'weights', 'config'],
  ]);
  expect(blobs.size).toBe(2);
});

test('an empty file needs no server', async () => {
  const empty = { ...entryFor(''), sizeBytes: 0 };
  const blobs = await fetcherFor(() => null).fetcher.files([empty], options());
  expect(blobs.get('weights')?.size).toBe(0);
});

describe('a stored file that has changed', () => {
  test('is compared on loading when it has one chunk', async () => {
    const single = entryFor(CONTENT, 16);
    await fetcherFor().fetcher.files([single], options());
    flip(3);
    const { server, fetcher } = fetcherFor();
    const blobs = await fetcher.files([single], options());
    expect(await blobs.get('weights')?.text()).toBe(CONTENT);
    expect(server.asked).toHaveLength(1);
  });

  test('is trusted on loading when it has more, and repaired by a check', async () => {
    await fetchOnce();
    flip(5);
    expect(await fetchOnce(() => null)).toBe('0123446789');
    const { server, fetcher } = fetcherFor();
    const report = await fetcher.check([entry], Infinity, options());
    expect(report).toEqual({ checkedBytes: 10, repaired: ['weights'] });
    expect(server.ranges).toEqual(['bytes=4-7']);
    expect(await fetchOnce(() => null)).toBe(CONTENT);
    const again = await fetcher.check([entry], Infinity, options());
    expect(again.repaired).toEqual([]);
  });

  test('is not compared again before its time', async () => {
    await fetchOnce();
    const { fetcher } = fetcherFor();
    const report = await fetcher.check([entry], Date.now() - 1000, options());
    expect(report.checkedBytes).toBe(0);
  });

  test('is fetched again where no journal tells what is whole', async () => {
    await fetchOnce();
    folder.files.delete(`${entry.sha256}.journal`);
    flip(9);
    const { server, fetcher } = fetcherFor();
    const blobs = await fetcher.files([entry], options());
    expect(await blobs.get('weights')?.text()).toBe(CONTENT);
    expect(server.ranges).toEqual(['bytes=8-9']);
  });

  test('stays damaged, but known to be, while the server is away', async () => {
    await fetchOnce();
    flip(5);
    const away = fetcherFor(() => null).fetcher;
    await expect(away.check([entry], Infinity, options())).rejects.toMatchObject({
      kind: 'network',
    });
    const { server, fetcher } = fetcherFor();
    await fetcher.files([entry], options());
    expect(server.ranges).toEqual(['bytes=4-7']);
  });
});

describe('a store that has no room', () => {
  test('is made up for by memory, without a question for a small model', async () => {
    folder.room.left = 3;
    const { fetcher } = fetcherFor();
    const onSpace = vi.fn(() => Promise.resolve());
    const blobs = await fetcher.files([entry], options({ onSpace }));
    expect(await blobs.get('weights')?.text()).toBe(CONTENT);
    expect(fetcher.lasting).toBe(false);
    expect(onSpace).not.toHaveBeenCalled();
  });

  test('is known before a large download, with both numbers', async () => {
    const around = { largeBytes: 5, freeBytes: () => Promise.resolve(7) };
    const { server, fetcher } = fetcherFor(undefined, around);
    const asked: unknown[] = [];
    const onSpace = (needs: number, free: number | null) => {
      asked.push([needs, free, server.asked.length]);
      return Promise.resolve();
    };
    const blobs = await fetcher.files([entry], options({ onSpace }));
    expect(asked).toEqual([[10, 7, 0]]);
    expect(await blobs.get('weights')?.text()).toBe(CONTENT);
    expect([...folder.files.keys()]).toEqual([]);
  });

  test('that refuses against its own estimate is asked about once, without a made-up number', async () => {
    folder.room.left = 3;
    const { fetcher } = fetcherFor(undefined, { largeBytes: 5 });
    const onSpace = vi.fn(() => Promise.resolve());
    const other = { ...entryFor(CONTENT, 5), name: 'other', sha256: 'b'.repeat(64) };
    await fetcher.files([entry, other], options({ onSpace }));
    expect(onSpace.mock.calls).toEqual([[10, null]]);
  });

  test('ends the download when that is the answer', async () => {
    const around = { largeBytes: 5, freeBytes: () => Promise.resolve(7) };
    const { server, fetcher } = fetcherFor(undefined, around);
    const onSpace = () => Promise.reject(new LocalphiError('stopped', 'no'));
    await expect(fetcher.files([entry], options({ onSpace }))).rejects.toThrow('no');
    expect(server.asked).toEqual([]);
  });

  test('on the way keeps what has come', async () => {
    const { server, fetcher } = fetcherFor(({ from }) => {
      const file = folder.files.get(entry.sha256)!;
      if (from === 8) file.bytes = file.bytes.slice(0, 8); // as Chromium's private windows do
      folder.room.left = from === 8 ? 0 : Infinity;
      return CONTENT;
    });
    const blobs = await fetcher.files([entry], options());
    expect(await blobs.get('weights')?.text()).toBe(CONTENT);
    expect(fetcher.lasting).toBe(false);
    expect(server.ranges).toEqual(['bytes=0-3', 'bytes=4-7', 'bytes=8-9', 'bytes=8-9']);
  });

  test('none at all asks before a large download, too', async () => {
    const onSpace = vi.fn(() => Promise.resolve());
    const { fetcher } = fetcherFor(undefined, { largeBytes: 5 }, new MemoryStore());
    await fetcher.files([entry], options({ onSpace }));
    expect(onSpace.mock.calls).toEqual([[10, 0]]);
    expect(fetcher.lasting).toBe(false);
  });
});

test('a large download is announced, and waits', async () => {
  let go = () => {};
  const onPlan = vi.fn(() => new Promise<void>((resolve) => (go = resolve)));
  const { server, fetcher } = fetcherFor(undefined, { largeBytes: 5 });
  const files = fetcher.files([entry], options({ onPlan }));
  await vi.waitFor(() => {
    expect(onPlan.mock.calls).toEqual([[10]]);
  });
  expect(server.asked).toEqual([]);
  go();
  await files;
  await fetcher.files([entry], options({ onPlan }));
  expect(onPlan).toHaveBeenCalledTimes(1); // nothing to fetch the second time
});

test('two tabs fetch once, and the second says what it waits for', async () => {
  const { server, fetcher } = fetcherFor();
  const stages: string[] = [];
  const onProgress = ({ stage }: LoadProgress) => stages.push(stage);
  const others = fetcherFor(() => null).fetcher.files([entry], options());
  const refused = expect(others).rejects.toMatchObject({ kind: 'network' });
  const blobs = await fetcher.files([entry], options({ onProgress }));
  await refused;
  expect(await blobs.get('weights')?.text()).toBe(CONTENT);
  expect(stages).toContain('waiting');
  expect(stages.at(-1)).toBe('session');
  expect(server.asked).toHaveLength(3);
});

test('a tab that waits can be stopped', async () => {
  const hold = navigator.locks.request(`localphi-${entry.sha256}`, () => new Promise(() => {}));
  const stop = new AbortController();
  const files = fetcherFor().fetcher.files([entry], options({ signal: stop.signal }));
  const stopped = expect(files).rejects.toThrow('enough');
  await new Promise((resolve) => setTimeout(resolve, 5));
  stop.abort(new LocalphiError('stopped', 'enough'));
  await stopped;
  void hold;
});

describe('the manifest', () => {
  const document = {
    ...{ schema: 1, id: 'tiny', name: 'Tiny', context_length: 8, chunk_bytes: CHUNK },
    sampling: { temperature: 0, top_p: 1, top_k: 0 },
    system_prompt: null,
    prompt_format: { prefix: '', roles: {}, generation: '', end: [], control: [] },
    files: { weights: { size: entry.sizeBytes, sha256: entry.sha256, chunks: entry.chunks } },
    variants: { wasm: { files: ['weights'] } },
  };
  const text = JSON.stringify(document);
  const whole = () => new Response(text);

  test('of an earlier visit serves while the server is away', async () => {
    expect(await fetcherFor(whole).fetcher.manifest()).toMatchObject({ fresh: true });
    expect(await fetcherFor(() => null).fetcher.manifest()).toMatchObject({
      fresh: false,
      manifest: { name: 'Tiny' },
    });
  });

  test('that was never seen is a network error', async () => {
    await expect(fetcherFor(() => null).fetcher.manifest()).rejects.toMatchObject({
      kind: 'network',
    });
  });

  test('that the server refuses is its error, with the status', async () => {
    const refusing = fetcherFor(() => new Response('', { status: 404 })).fetcher;
    await expect(refusing.manifest()).rejects.toThrow('localphi.json: the server answered 404');
  });

  test('decides which stored files stay', async () => {
    const old = entryFor('old');
    await fetcherFor(() => 'old').fetcher.files([old], options());
    await fetchOnce();
    await fetcherFor(whole).fetcher.manifest();
    await clearAway(store);
    expect([...(await store.list()).keys()]).toEqual([entry.sha256]);
  });

  test('names the models that are kept, until they are deleted', async () => {
    await fetcherFor(whole).fetcher.manifest();
    expect((await storageReport(store)).models).toEqual([]); // nothing of it yet
    await fetchOnce();
    expect(await storageReport(store)).toEqual({
      models: [{ id: 'tiny', name: 'Tiny', keptBytes: 10 }],
      place: 'opfs',
      usageBytes: 5,
      quotaBytes: 100,
      persistent: true,
    });
    await removeModel(store, 'tiny');
    expect(await keptManifest(store, 'tiny')).toBeNull();
    expect([...folder.files.keys()]).toEqual([]);
    await removeModel(store, 'tiny'); // no-op
  });

  test('keeps a deleted model’s files that another one has, too', async () => {
    await store.writeManifest('tiny', text);
    await store.writeManifest('twin', JSON.stringify({ ...document, id: 'twin' }));
    await fetchOnce();
    await removeModel(store, 'tiny');
    expect(await fetchOnce(() => null)).toBe(CONTENT);
  });

  test('of a model that is being fetched cannot be deleted', async () => {
    await store.writeManifest('tiny', text);
    void navigator.locks.request(`localphi-${entry.sha256}`, () => new Promise(() => {}));
    await expect(removeModel(store, 'tiny')).rejects.toMatchObject({ kind: 'busy' });
  });
});
