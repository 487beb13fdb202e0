import { expect, test, vi } from 'vitest';

import { Throttle } from '../../page/throttle';

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
