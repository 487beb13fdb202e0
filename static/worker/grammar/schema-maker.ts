/** What the schemas of one grammar share. */
import { complement, normal, plainCharacters, quotedCharacters } from './characters';
import type { CharacterMaker } from './characters';
import type { Expression, Expressions } from './expression';

const MAX_RULES = 8192;

/** Thrown where the schemas of a grammar come to too much. */
export class TooLarge extends Error {}

/** Makes what is common in JSON, and counts rules: those of all schemas together. */
export class SchemaMaker {
  readonly expressions: Expressions;
  readonly quoted: CharacterMaker;
  readonly #character: Expression;
  readonly #rules = new Set<Expression>();

  constructor(expressions: Expressions) {
    this.expressions = expressions;
    this.quoted = quotedCharacters(expressions);
    const plain = complement(
      normal([...[0x22, 0x5c, 0x7f].map((c) => [c, c] as const), [0, 0x1f]]),
    );
    this.#character = expressions.any(
      plainCharacters(expressions)(plain),
      expressions.sequence(
        expressions.text('\\'),
        expressions.set(Array.from('"\\bfnrt/', (c) => c.charCodeAt(0))),
      ),
    );
  }

  /** The same expression; throws TooLarge when there are too many. */
  rule(expression: Expression): Expression {
    this.#rules.add(expression);
    if (this.#rules.size > MAX_RULES) throw new TooLarge();
    return expression;
  }

  text(text: string): Expression {
    return this.expressions.text(text);
  }

  /** A JSON string of `least` to `most` characters, quotes included. */
  string(least: number, most: number): Expression {
    const { expressions } = this;
    const quoteMark = this.text('"');
    const inner = expressions.repeat(this.#character, least, most);
    return this.rule(expressions.sequence(quoteMark, inner, quoteMark));
  }
}
