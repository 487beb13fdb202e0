import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { LocalBackend } from '../../page/local-backend';
import type { PageMessage, StorageReport, WorkerMessage } from '../../shared/protocol';

/** A worker that says what the test says. */
class FakeWorker extends EventTarget {
  readonly sent: PageMessage[] = [];
  terminated = false;

  postMessage(message: PageMessage): void {
    this.sent.push(message);
  }

  terminate(): void {
    this.terminated = true;
  }

  say(message: WorkerMessage): void {
    this.dispatchEvent(new MessageEvent('message', { data: message }));
  }
}

const HANDLERS = { onReading: () => {}, onText: () => {}, onMoved: () => {} };

function backendOn(worker: FakeWorker): LocalBackend {
  return new LocalBackend(worker as unknown as Worker, () => {});
}

function chat(backend: LocalBackend, controller = new AbortController()) {
  return backend.chat([], {}, HANDLERS, { signal: controller.signal });
}

beforeEach(() => {
  vi.stubGlobal('window', globalThis);
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('a worker that died while idle refuses the next question at once', async () => {
  const worker = new FakeWorker();
  const backend = backendOn(worker);
  worker.dispatchEvent(new Event('error'));
  await expect(chat(backend)).rejects.toMatchObject({ kind: 'worker' });
});

test('a worker that does not answer a cancel is given up', async () => {
  const worker = new FakeWorker();
  const controller = new AbortController();
  const answer = chat(backendOn(worker), controller);
  controller.abort();
  expect(worker.sent.map(({ type }) => type)).toEqual(['chat', 'cancel']);
  const given = expect(answer).rejects.toMatchObject({ kind: 'worker' });
  await vi.advanceTimersByTimeAsync(6000);
  await given;
  expect(worker.terminated).toBe(true);
});

test('a worker that answers the cancel lives on', async () => {
  const worker = new FakeWorker();
  const controller = new AbortController();
  const answer = chat(backendOn(worker), controller);
  controller.abort();
  const stats = {
    device: 'wasm',
    promptTokens: 1,
    cachedTokens: 0,
    tokens: 0,
    firstTokenMs: 1,
    tokensPerSecond: null,
  } as const;
  const ids = { promptIds: [], ids: [] };
  worker.say({ id: 1, type: 'done', reason: 'cancelled', stats, ids });
  expect(await answer).toMatchObject({ reason: 'cancelled' });
  await vi.advanceTimersByTimeAsync(6000);
  expect(worker.terminated).toBe(false);
});

test('answers take turns, and one that waits can be cancelled at once', async () => {
  const worker = new FakeWorker();
  const backend = backendOn(worker);
  const first = chat(backend);
  const waiting = new AbortController();
  const second = chat(backend, waiting);
  const third = chat(backend);
  expect(worker.sent.map(({ id }) => id)).toEqual([1]);
  waiting.abort();
  await expect(second).rejects.toThrow('stopped');
  const done = { type: 'done', reason: 'stop', stats: null!, ids: null! } as const;
  worker.say({ id: 1, ...done });
  await first;
  await vi.advanceTimersByTimeAsync(0);
  expect(worker.sent.map(({ type, id }) => `${type} ${id}`)).toEqual(['chat 1', 'chat 2']);
  worker.say({ id: 2, ...done });
  expect(await third).toMatchObject({ reason: 'stop' });
});

test('when the worker dies, those that wait for their turn learn it', async () => {
  const worker = new FakeWorker();
  const backend = backendOn(worker);
  const answers = [chat(backend), chat(backend)];
  const refused = answers.map((answer) => expect(answer).rejects.toMatchObject({ kind: 'worker' }));
  backend.close();
  await Promise.all(refused);
});

test('the questions of a load go to who asked for it, and the answers back', async () => {
  const worker = new FakeWorker();
  const backend = backendOn(worker);
  const stop = new AbortController();
  const asked: unknown[] = [];
  const load = backend.load(
    'tiny',
    { choice: 'auto', oneThread: false },
    {
      onProgress: ({ loadedBytes }) => asked.push(loadedBytes),
      onPlan: (bytes) => {
        asked.push(bytes);
        return Promise.reject(new Error('no')); // it goes on all the same
      },
      onSpace: (needs, free) => {
        asked.push([needs, free]);
        return Promise.resolve();
      },
      onTrying: (device) => asked.push(device),
    },
    stop,
  );
  worker.say({ id: 1, type: 'plan', fetchBytes: 9 });
  worker.say({ id: 1, type: 'space', needsBytes: 9, freeBytes: null });
  await vi.advanceTimersByTimeAsync(0);
  backend.hold(true);
  backend.hold(false);
  stop.abort();
  expect(asked).toEqual([9, [9, null]]);
  expect(worker.sent.map(({ type }) => type)).toEqual([
    ...['load', 'go-on', 'go-on', 'pause', 'resume', 'cancel'],
  ]);
  worker.say({ id: 1, type: 'error', error: { kind: 'stopped', message: 'enough' } });
  await expect(load).rejects.toMatchObject({ kind: 'stopped' });
});

test('what is kept can be asked for, checked and deleted', async () => {
  const worker = new FakeWorker();
  const rungs: unknown[] = [];
  const backend = new LocalBackend(worker as unknown as Worker, (told) => rungs.push(told));
  const kept = backend.kept();
  const storage: StorageReport = {
    ...{ models: [], place: 'opfs', usageBytes: 1, quotaBytes: 2, persistent: false },
  };
  worker.say({ id: 1, type: 'kept', storage });
  expect(await kept).toEqual(storage);
  const removed = backend.remove('tiny');
  worker.say({ id: 2, type: 'removed' });
  await removed;
  const checked = backend.check('tiny', { force: true });
  const report = { checkedBytes: 3, repaired: ['weights'] };
  worker.say({ id: 3, type: 'checked', report, rungs: [] });
  expect(await checked).toEqual(report);
  expect(rungs).toEqual([[]]);
});

test('ids come before what they add', async () => {
  const worker = new FakeWorker();
  const told: unknown[] = [];
  const handlers = {
    ...HANDLERS,
    onIds: (ids: readonly number[]) => told.push(ids),
    onText: (text: string) => told.push(text),
    onCall: (piece: object) => told.push(piece),
  };
  void backendOn(worker).chat([], {}, handlers, { signal: new AbortController().signal });
  worker.say({ id: 1, type: 'text', text: 'Hi', ids: [4, 5] });
  worker.say({ id: 1, type: 'arguments', index: 0, text: '{', ids: [6] });
  await vi.advanceTimersByTimeAsync(0);
  expect(told).toMatchObject([[4, 5], 'Hi', [6], { type: 'arguments', text: '{' }]);
});

test('what hearing an answer throws ends it, and the worker stops making it', async () => {
  const worker = new FakeWorker();
  const full = new Error('full');
  const onText = () => {
    throw full;
  };
  const answer = backendOn(worker).chat(
    [],
    {},
    { ...HANDLERS, onText },
    { signal: new AbortController().signal },
  );
  worker.say({ id: 1, type: 'text', text: 'Hi', ids: [] });
  await expect(answer).rejects.toBe(full);
  expect(worker.sent.map(({ type }) => type)).toEqual(['chat', 'cancel']);
});

test('a worker that lets go of its lock has died', async () => {
  let gone = () => {};
  const request = vi.fn((_lock: string, _opts: object, callback: () => void) => {
    gone = callback;
    return Promise.resolve();
  });
  vi.stubGlobal('navigator', { locks: { request } });
  const worker = new FakeWorker();
  const answer = chat(backendOn(worker));
  worker.say({ id: 0, type: 'alive', lock: 'life' });
  expect(request.mock.calls[0]?.[0]).toBe('life');
  gone();
  await expect(answer).rejects.toMatchObject({ kind: 'worker', message: 'the worker has ended' });
});
