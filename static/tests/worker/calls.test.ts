import { expect, test } from 'vitest';

import { MarkedReader, UnmarkedReader } from '../../worker/runtime/calls';
import type { AnswerReader, Piece } from '../../worker/runtime/calls';

/** Ids are characters; these two are the tokens around calls. */
const [OPEN, CLOSE] = [1, 2] as const;
const newDetokenizer = () => ({
  push: (id: number) => (id > CLOSE ? String.fromCharCode(id) : ''),
  flush: () => '',
});
const CALLS =
  '[{"name": "f", "arguments": {"a": "}]\\"[{", "b": {"c": []}}}, {"name": "g", "arguments": {}}]';

function read(reader: AnswerReader, ids: readonly number[]): readonly unknown[] {
  const pieces: Piece[] = ids.flatMap((id) => reader.push(id));
  const joined: unknown[] = [];
  const given: string[] = [];
  for (const piece of [...pieces, ...reader.finish()]) {
    if (typeof piece === 'string') joined.push(piece);
    else if (piece.type === 'call') {
      expect(piece.index).toBe(given.length);
      expect(piece.callId).toMatch(/^call_[0-9a-f]{24}$/);
      given.push('');
      joined.push(piece.name);
    } else given[piece.index] = given[piece.index]! + piece.text;
  }
  return [...joined, ...given];
}

const ids = (text: string) => Array.from(text, (character) => character.charCodeAt(0));
const ARGUMENTS = ['{"a": "}]\\"[{", "b": {"c": []}}', '{}'];

test('calls between their tokens, after text', () => {
  const reader = new MarkedReader(newDetokenizer, [OPEN, CLOSE]);
  expect(read(reader, [...ids('Hi'), OPEN, ...ids(CALLS), CLOSE])).toEqual([
    ...['H', 'i', 'f', 'g'],
    ...ARGUMENTS,
  ]);
  expect([reader.calls, reader.over]).toEqual([true, true]);
});

test('what looks like calls is text where the tokens are missing', () => {
  const reader = new MarkedReader(newDetokenizer, [OPEN, CLOSE]);
  expect(read(reader, ids(CALLS)).join('')).toBe(CALLS);
  expect([reader.calls, reader.over]).toEqual([false, false]);
});

test('a list of calls in place of text, for a model without such tokens', () => {
  const reader = new UnmarkedReader(newDetokenizer());
  expect(read(reader, ids(CALLS))).toEqual(['f', 'g', ...ARGUMENTS]);
  expect([reader.calls, reader.over]).toEqual([true, true]);
});

test.each(['[1, 2]', ' [{"name": 1', 'Hello', '[{"name"'])('%s is text', (text) => {
  const reader = new UnmarkedReader(newDetokenizer());
  expect(read(reader, ids(text)).join('')).toBe(text);
  expect(reader.calls).toBe(false);
});
