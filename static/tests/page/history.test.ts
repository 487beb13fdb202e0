import 'fake-indexeddb/auto';
import { expect, test, vi } from 'vitest';

import { Throttle, openHistory } from '../../page/history';
import type { StoredEntry } from '../../page/history';

const ENTRY: StoredEntry = {
  role: 'user',
  content: 'Hi',
  state: 'done',
  stats: null,
  error: null,
};

test('what was saved is there on the next visit', async () => {
  await (await openHistory()).save([ENTRY]);
  expect(await (await openHistory()).load()).toEqual([ENTRY]);
});

test('where the browser refuses storage there is an empty history', async () => {
  const open = vi.spyOn(indexedDB, 'open').mockImplementation(() => {
    throw new DOMException('refused', 'SecurityError');
  });
  const history = await openHistory();
  await history.save([ENTRY]);
  expect(await history.load()).toEqual([]);
  open.mockRestore();
});

test('saving is throttled and never loses the last value', async () => {
  vi.useFakeTimers();
  const saved: number[] = [];
  const throttle = new Throttle<number>((value) => {
    saved.push(value);
    return value === 3 ? Promise.reject(new Error('full')) : Promise.resolve();
  }, 100);
  throttle.push(1);
  throttle.push(2);
  throttle.push(3);
  expect(saved).toEqual([1]);
  await vi.advanceTimersByTimeAsync(100);
  expect(saved).toEqual([1, 3]);
  throttle.push(4);
  await vi.advanceTimersByTimeAsync(100);
  expect(saved).toEqual([1, 3, 4]);
  throttle.push(5);
  throttle.flush();
  throttle.flush();
  expect(saved).toEqual([1, 3, 4, 5]);
  vi.useRealTimers();
});

test('a database that never answers does not keep the page waiting', async () => {
  vi.useFakeTimers();
  const open = vi.spyOn(indexedDB, 'open').mockReturnValue({
    addEventListener: () => {},
  } as unknown as IDBOpenDBRequest);
  const opening = openHistory();
  await vi.advanceTimersByTimeAsync(3000);
  expect(await (await opening).load()).toEqual([]);
  open.mockRestore();
  vi.useRealTimers();
});
