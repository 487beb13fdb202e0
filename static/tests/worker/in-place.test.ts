import { expect, test } from 'vitest';

import { writesInPlace } from '../../worker/runtime/in-place';

test.each([
  ['GroupQueryAttention', true],
  ['x\u0000G GGroupQueryAttention"', true],
  ['MultiHeadAttention', false],
  ['GroupQueryAttentio', false],
  ['', false],
])('a graph with %j', (text, wanted) => {
  expect(writesInPlace(new TextEncoder().encode(text))).toBe(wanted);
});
