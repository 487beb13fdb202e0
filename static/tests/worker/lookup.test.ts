import { expect, test } from 'vitest';

import { PromptLookup } from '../../worker/runtime/lookup';

test('what followed the same three ids is guessed, the latest', () => {
  const lookup = new PromptLookup([1, 2, 3, 4, 9, 1, 2, 3, 5, 6, 9, 1, 2, 3]);
  expect(lookup.guess(9)).toEqual([5, 6, 9, 1, 2, 3]);
  expect(lookup.guess(2)).toEqual([5, 6]);
  expect(lookup.guess(0)).toEqual([]);
});

test('what never stood before is not guessed', () => {
  expect(new PromptLookup([1, 2]).guess(9)).toEqual([]);
  expect(new PromptLookup([1, 2, 3, 4]).guess(9)).toEqual([]);
});

test('guesses that are mostly wrong pause for a while', () => {
  const lookup = new PromptLookup([1, 2, 3, 4, 1, 2, 3]);
  for (let i = 0; i < 20 && lookup.guess(9).length > 0; i++) lookup.score(0, 4);
  expect(lookup.guess(9)).toEqual([]);
  for (let i = 0; i < 48; i++) lookup.push([1, 2, 3, 4][i % 4]!);
  expect(lookup.guess(9)).not.toEqual([]);
});
