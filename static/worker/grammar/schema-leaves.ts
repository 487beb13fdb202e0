/** Texts and numbers of JSON schemas. */
import { ANY_CHARACTER } from './characters';
import type { Expression } from './expression';
import { FORMATS } from './formats';
import { lookingAhead } from './lookahead';
import { NumberRule } from './numbers';
import type { NumberBounds } from './numbers';
import { expressionOf, found, parsePattern } from './patterns';
import { LOWER, NUMBER, UPPER } from './schema-document';
import type { Refuse, Schema } from './schema-document';
import type { SchemaMaker } from './schema-maker';

const MAX_STRING = 4096;
const FORMAT_CHARS = 256;
const [MAX_NUMBER, DECIMAL] = [10 ** 12, 1e-6];
const MAX_BOUND = 10 ** 15;

/** What a schema says under a word, where it says something. */
export function said(schema: Schema, word: string, otherwise: unknown): unknown {
  return word in schema ? schema[word] : otherwise;
}

export class SchemaLeaves {
  readonly #maker: SchemaMaker;
  readonly #refuse: Refuse;

  constructor(maker: SchemaMaker, refuse: Refuse) {
    this.#maker = maker;
    this.#refuse = refuse;
  }

  string(schema: Schema): Expression {
    const least = this.count(schema, 'minLength', 0, MAX_STRING);
    const most = this.most(schema, 'maxLength', MAX_STRING, MAX_STRING);
    const [pattern, format] = [said(schema, 'pattern', null), formatOf(schema)];
    if (pattern === null && format === undefined) {
      if (least > most) this.#refuse(`no string has ${least} to ${most} characters`);
      return this.#maker.string(least, most);
    }
    if (pattern !== null && typeof pattern !== 'string') {
      return this.#refuse("'pattern' must be a text");
    }
    const { expressions, quoted } = this.#maker;
    const ahead = pattern === null ? null : lookingAhead(expressions, pattern, least, most);
    if (ahead) return this.#fitting(ahead); // it comes with a format that says the same
    const parts: Expression[] = [];
    if (pattern !== null) parts.push(found(parsePattern(pattern), expressions, quoted));
    if (format !== undefined) parts.push(expressionOf(parsePattern(format), expressions, quoted));
    const limit = format === undefined ? most : Math.min(most, FORMAT_CHARS);
    const within = expressions.repeat(quoted(ANY_CHARACTER), least, limit);
    const inner = this.#fitting(
      least > limit ? expressions.never : expressions.all(...parts, within),
    );
    const quoteMark = this.#maker.text('"');
    return this.#maker.rule(expressions.sequence(quoteMark, inner, quoteMark));
  }

  integer(schema: Schema): Expression {
    const limit = Number.MAX_SAFE_INTEGER; // what every JSON parser reads exactly
    const bounds = { minimum: -limit, maximum: limit, ...this.#range(schema, limit) };
    return this.#numberOf({ integer: true, ...bounds });
  }

  /** Only a step bounds the digits after the point. */
  number(schema: Schema): Expression {
    const bounds = { minimum: -MAX_NUMBER, maximum: MAX_NUMBER, multipleOf: DECIMAL };
    return this.#numberOf({ integer: false, ...bounds, ...this.#range(schema, MAX_BOUND) });
  }

  count(schema: Schema, word: string, otherwise: number, limit: number): number {
    const value = said(schema, word, otherwise);
    if (isWhole(value) && value <= limit) return value;
    return this.#refuse(`'${word}' must be a whole number from 0 to ${limit}`);
  }

  /** An upper bound; one above our own limit is narrowed to it. */
  most(schema: Schema, word: string, otherwise: number, limit: number): number {
    const value = said(schema, word, otherwise);
    if (isWhole(value)) return Math.min(value, limit);
    return this.#refuse(`'${word}' must be a whole number`);
  }

  #numberOf(bounds: NumberBounds): Expression {
    if ((bounds.multipleOf ?? 1) <= 0) this.#refuse("'multipleOf' must be above 0");
    const number = this.#maker.expressions.number(new NumberRule(bounds));
    return this.#maker.rule(this.#fitting(number));
  }

  #fitting(expression: Expression): Expression {
    if (expression === this.#maker.expressions.never) this.#refuse('nothing fits a part of it');
    return expression;
  }

  /** What bounds the number; bounds at the limit or beyond, as zod writes for every integer, do not. */
  #range(schema: Schema, limit: number): Readonly<Record<string, number>> {
    const given: Record<string, number> = {};
    for (const word of NUMBER) {
      const value = schema[word];
      if (value === undefined || value === null) continue;
      if (typeof value !== 'number') return this.#refuse(`'${word}' must be a number`);
      const beyondLow = LOWER.includes(word) && value <= -limit;
      const beyondHigh = UPPER.includes(word) && value >= limit;
      if (beyondLow || beyondHigh) continue;
      if (Math.abs(value) > limit) this.#refuse(`'${word}' is beyond ${limit}`);
      given[word] = value;
    }
    return given;
  }
}

/** The pattern of a format that is held. */
function formatOf(schema: Schema): string | undefined {
  const { format } = schema;
  return typeof format === 'string' && Object.hasOwn(FORMATS, format) ? FORMATS[format] : undefined;
}

function isWhole(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0;
}
