import { expect, test } from 'vitest';

import { floatsOf } from '../../worker/runtime/half';

test.each([
  [0x0000, 0],
  [0x8000, -0],
  [0x0001, 2 ** -24],
  [0x83ff, -1023 * 2 ** -24],
  [0x0400, 2 ** -14],
  [0x3c00, 1],
  [0xc248, -3.140625],
  [0x7bff, 65504],
  [0x7c00, Infinity],
  [0xfc00, -Infinity],
  [0x7e00, NaN],
])('the float16 %i is %f', (bits, value) => {
  expect([...floatsOf(Uint16Array.of(bits))]).toEqual([value]);
});
