/** Sets of characters, as expressions over the bytes of UTF-8, plain or as they stand in a JSON string. */
import type { Expression, Expressions } from './expression';

/** Code points, first and last, in order and apart. */
export type Ranges = readonly (readonly [first: number, last: number])[];

const LAST = 0x10ffff;
const SURROGATES: Ranges = [[0xd800, 0xdfff]];
/** What a JSON string writes as an escape. */
const ESCAPED: Ranges = [
  [0x00, 0x1f],
  [0x22, 0x22],
  [0x5c, 0x5c],
  [0x7f, 0x7f],
];
const SHORT_ESCAPES = new Map<number, string>([
  ...([
    [0x08, 'b'],
    [0x09, 't'],
    [0x0a, 'n'],
    [0x0c, 'f'],
    [0x0d, 'r'],
  ] as const),
  ...([
    [0x22, '"'],
    [0x5c, '\\'],
  ] as const),
]);

/** Makes the expression of one character of a set. */
export type CharacterMaker = (ranges: Ranges) => Expression;

export function plainCharacters(expressions: Expressions): CharacterMaker {
  return (ranges) => utf8(expressions, without(ranges, SURROGATES));
}

/**
 * Characters between the quotes of a JSON string, with the escapes that llguidance writes: short ones, and
 * \u00XX for control characters.
 */
export function quotedCharacters(expressions: Expressions): CharacterMaker {
  return (ranges) => {
    const escapes = [...codePoints(overlap(ranges, ESCAPED))].flatMap((code) => {
      const short = SHORT_ESCAPES.get(code);
      const long = code < 0x20 || code === 0x7f ? [hexEscape(expressions, code)] : [];
      return short === undefined ? long : [expressions.text(`\\${short}`), ...long];
    });
    const plain = without(without(ranges, ESCAPED), SURROGATES);
    return expressions.any(utf8(expressions, plain), ...escapes);
  };
}

/** \u00XX, in letters of either case. */
function hexEscape(expressions: Expressions, code: number): Expression {
  const digits = Array.from(code.toString(16).padStart(4, '0'), (digit) =>
    expressions.set([digit.charCodeAt(0), digit.toUpperCase().charCodeAt(0)]),
  );
  return expressions.sequence(expressions.text('\\u'), ...digits);
}

export const ANY_CHARACTER: Ranges = [[0, LAST]];

/** In order and apart. */
export function normal(ranges: Ranges): Ranges {
  const merged: [number, number][] = [];
  for (const [first, last] of ranges.toSorted((a, b) => a[0] - b[0])) {
    const before = merged.at(-1);
    if (before && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else merged.push([first, last]);
  }
  return merged;
}

export function without(ranges: Ranges, others: Ranges): Ranges {
  return overlap(ranges, complement(others));
}

export function complement(ranges: Ranges): Ranges {
  const left: [number, number][] = [];
  let next = 0;
  for (const [first, last] of ranges) {
    if (first > next) left.push([next, first - 1]);
    next = last + 1;
  }
  if (next <= LAST) left.push([next, LAST]);
  return left;
}

function overlap(ranges: Ranges, others: Ranges): Ranges {
  const both: [number, number][] = [];
  for (const [first, last] of ranges) {
    for (const [otherFirst, otherLast] of others) {
      const [from, to] = [Math.max(first, otherFirst), Math.min(last, otherLast)];
      if (from <= to) both.push([from, to]);
    }
  }
  return both;
}

function* codePoints(ranges: Ranges): Generator<number> {
  for (const [first, last] of ranges) for (let code = first; code <= last; code++) yield code;
}

/** Last code points of one, two, three and four bytes. */
const LENGTHS = [0x7f, 0x7ff, 0xffff, LAST];

function utf8(expressions: Expressions, ranges: Ranges): Expression {
  return expressions.any(
    ...ranges.flatMap(([first, last]) =>
      LENGTHS.flatMap((end, i) => {
        const [from, to] = [Math.max(first, i ? LENGTHS[i - 1]! + 1 : 0), Math.min(last, end)];
        return from <= to ? [bytes(expressions, bytesOf(from), bytesOf(to))] : [];
      }),
    ),
  );
}

/** Everything from one text of bytes to another of the same length, with any continuation bytes between. */
function bytes(
  expressions: Expressions,
  low: readonly number[],
  high: readonly number[],
): Expression {
  const [from = 0, ...lowRest] = low;
  const [to = 0, ...highRest] = high;
  if (lowRest.length === 0) return between(expressions, from, to);
  const tail = (one: readonly number[], other: readonly number[]) => bytes(expressions, one, other);
  const lowest = lowRest.map(() => 0x80);
  const highest = highRest.map(() => 0xbf);
  if (from === to) return expressions.sequence(expressions.set([from]), tail(lowRest, highRest));
  return expressions.any(
    expressions.sequence(expressions.set([from]), tail(lowRest, highest)),
    expressions.sequence(between(expressions, from + 1, to - 1), tail(lowest, highest)),
    expressions.sequence(expressions.set([to]), tail(lowest, highRest)),
  );
}

function between(expressions: Expressions, from: number, to: number): Expression {
  return expressions.set(Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i));
}

function bytesOf(code: number): readonly number[] {
  return [...new TextEncoder().encode(String.fromCodePoint(code))];
}
