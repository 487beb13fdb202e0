import { expect, test } from 'vitest';

import { narrowed, widened } from '../../worker/runtime/float16';

test('every float16 comes back as it was', () => {
  const halves = Uint16Array.from({ length: 2 ** 16 }, (_, bits) => bits);
  const isNan = (bits: number) => (bits & 0x7fff) > 0x7c00;
  const numbers = halves.filter((bits) => !isNan(bits));
  expect(narrowed(widened(numbers))).toEqual(numbers);
  expect(narrowed(Float32Array.of(NaN)).every(isNan)).toBe(true);
});

test.each([
  [1 + 2 ** -11, 1], // between two: the even one
  [1 + 3 * 2 ** -11, 1 + 2 ** -9],
  [1 + 1.01 * 2 ** -11, 1 + 2 ** -10],
  [2 - 2 ** -12, 2],
  [1.5 * 2 ** -24, 2 * 2 ** -24],
  [2 ** -25, 0],
  [2 ** -14 - 2 ** -26, 2 ** -14],
  [65519, 65504],
  [65520, Infinity],
  [-0.1, -0.0999755859375],
])('%d becomes %d', (given, expected) => {
  expect(widened(narrowed(Float32Array.of(given)))[0]).toBe(expected);
});
