import { describe, expect, test } from 'vitest';

import { Expressions } from '../../../worker/grammar/expression';
import type { Expression } from '../../../worker/grammar/expression';
import { SchemaGrammar } from '../../../worker/grammar/schema-grammar';
import { SchemaMaker } from '../../../worker/grammar/schema-maker';
import { readVectors } from '../vectors';

interface Vectors {
  readonly param: string;
  /** Runs of bytes, as `33-126 256`; 256 is the end. */
  readonly sets: readonly string[];
  readonly cases: readonly Case[];
}

interface Case {
  readonly name: string;
  /** JSON that fits the schema, else the arguments of a tool. */
  readonly whole: boolean;
  readonly schema: unknown;
  /** The message; empty where the server's is its library's. */
  readonly refused?: string;
  /** Latin-1 text of bytes, and the set of bytes that may stand at each place and at the end. */
  readonly walks?: readonly { readonly text: string; readonly next: readonly number[] }[];
}

const vectors = readVectors('schemas.json') as Vectors;
const END = 256;

function grammarOf(schema: unknown, whole: boolean, expressions = new Expressions(8)): Expression {
  const made = new SchemaGrammar(
    new SchemaMaker(expressions),
    JSON.stringify(schema),
    vectors.param,
  );
  return whole ? made.anyText() : made.arguments();
}

function ranges(symbols: readonly number[]): string {
  const runs: [number, number][] = [];
  for (const symbol of symbols) {
    const last = runs.at(-1);
    if (last?.[1] === symbol - 1) last[1] = symbol;
    else runs.push([symbol, symbol]);
  }
  return runs
    .map(([first, last]) => (first === last ? String(first) : `${first}-${last}`))
    .join(' ');
}

const held = vectors.cases.filter(({ walks }) => walks !== undefined);
const refused = vectors.cases.filter((one) => one.refused !== undefined);

describe.each(held)('$name', ({ schema, whole, walks }) => {
  test('may go on as the server lets it, byte by byte', () => {
    const expressions = new Expressions(8);
    const start = grammarOf(schema, whole, expressions);
    for (const { text, next } of walks!) {
      let state = start;
      next.forEach((set, place) => {
        const firsts = expressions.firsts(state).toSorted((a, b) => a - b);
        const found = ranges(state.nullable ? [...firsts, END] : firsts);
        expect([text.slice(0, place), found]).toEqual([text.slice(0, place), vectors.sets[set]]);
        if (place < text.length) state = expressions.step(state, text.charCodeAt(place));
      });
    }
  });
});

test.each(refused)('is refused in the words of the server: $name', ({ schema, whole, refused }) => {
  const message = refused === '' ? `'${vectors.param}' cannot be used: ` : refused;
  expect(() => grammarOf(schema, whole)).toThrow(message);
});

test('a schema of more than 64 KiB is refused', () => {
  const schema = { enum: ['x'.repeat(70_000)] };
  expect(() => grammarOf(schema, true)).toThrow('it is larger than 64 KiB');
});
