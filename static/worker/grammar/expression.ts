/**
 * Regular expressions over bytes and a few tokens, read one symbol at a time by derivatives
 * (Brzozowski 1964): what an expression leaves to be read after a symbol is an expression again.
 *
 * Grammars of answers are bounded in every way, so they are regular; complement and intersection, which
 * texts and patterns need, cost nothing extra. Equal expressions are one object, and each remembers where
 * its symbols lead, so that a string of 4096 characters is walked by table, without being unrolled.
 *
 * Every expression but `never` has a text that fits it: where something fits is decided when an expression
 * is made, so that an answer cannot run into a dead end.
 */
import { LocalphiError } from '../../shared/errors';
import type { NumberRule } from './numbers';

/** Tokens that are symbols of their own, after the 256 bytes. */
export const OPENING = 256;
export const CLOSING = 257;
export const END = 258;
export const SYMBOLS = 259;

type Shape =
  | { readonly kind: 'never' | 'empty' }
  /** One symbol of a set: 1 at its place. */
  | { readonly kind: 'set'; readonly symbols: Uint8Array }
  | { readonly kind: 'sequence'; readonly first: Expression; readonly rest: Expression }
  | { readonly kind: 'any'; readonly options: readonly Expression[] }
  | {
      readonly kind: 'repeat';
      readonly item: Expression;
      readonly least: number;
      readonly most: number;
    }
  | { readonly kind: 'all'; readonly parts: readonly Expression[] }
  | { readonly kind: 'not'; readonly of: Expression }
  | { readonly kind: 'number'; readonly rule: NumberRule; readonly text: string };

export type Expression = Shape & {
  readonly id: number;
  /** Whether nothing more need follow. */
  readonly nullable: boolean;
  /** Where each symbol leads, as far as that was asked. */
  readonly next: (Expression | undefined)[];
};

const DIGITS_AND_SIGNS = Array.from('-.0123456789', (character) => character.charCodeAt(0));

/** Thrown where deciding whether anything fits takes too many steps. */
export class TooComplex extends LocalphiError {
  constructor() {
    super('request', 'a pattern is too complex to be held');
  }
}

/** States that a search for a text that fits may visit. */
const MOST_VISITED = 50_000;

/** Makes expressions, and derives them. */
export class Expressions {
  readonly #known = new Map<string, Expression>();
  readonly #firsts = new Map<Expression, readonly number[]>();
  readonly #alive = new Map<Expression, boolean>();
  readonly #clamped = new Map<Expression, Expression>();
  readonly #clampTo: number;
  readonly never: Expression;
  readonly empty: Expression;

  /** longest: bytes of the longest token, for `clamped`. */
  constructor(longest: number) {
    this.#clampTo = longest + 1;
    this.never = this.#make('never', { kind: 'never' }, false);
    this.empty = this.#make('empty', { kind: 'empty' }, true);
  }

  /** How many different expressions there are by now. */
  get size(): number {
    return this.#known.size;
  }

  /** One of the symbols. */
  set(symbols: Iterable<number>): Expression {
    const table = new Uint8Array(SYMBOLS);
    for (const symbol of symbols) table[symbol] = 1;
    return this.#set(table);
  }

  /** The bytes of a text, one after the other. */
  text(text: string): Expression {
    return this.sequence(...Array.from(new TextEncoder().encode(text), (byte) => this.set([byte])));
  }

  sequence(...parts: readonly Expression[]): Expression {
    return parts.reduceRight((rest, part) => this.#pair(part, rest), this.empty);
  }

  any(...options: readonly Expression[]): Expression {
    const flat = new Set<Expression>();
    let symbols: Uint8Array | null = null;
    for (const option of options.flatMap((o) => (o.kind === 'any' ? o.options : [o]))) {
      if (option.kind === 'set') {
        symbols = symbols ? symbols.map((has, i) => has | option.symbols[i]!) : option.symbols;
      } else if (option !== this.never) flat.add(option);
    }
    if (symbols) flat.add(this.#set(symbols));
    if (flat.has(this.empty) && [...flat].some((o) => o.nullable && o !== this.empty)) {
      flat.delete(this.empty);
    }
    const sorted = [...flat].sort((a, b) => a.id - b.id);
    if (sorted.length < 2) return sorted[0] ?? this.never;
    const nullable = sorted.some((option) => option.nullable);
    return this.#make(`|${ids(sorted)}`, { kind: 'any', options: sorted }, nullable);
  }

  optional(item: Expression): Expression {
    return this.any(this.empty, item);
  }

  /** The item `least` to `most` times; most may be Infinity. */
  repeat(item: Expression, least: number, most: number): Expression {
    if (most === 0 || item === this.empty) return this.empty;
    if (item === this.never) return least > 0 ? this.never : this.empty;
    if (least === 1 && most === 1) return item;
    const nullable = least === 0 || item.nullable;
    const from = item.nullable ? 0 : least;
    return this.#make(
      `*${item.id},${from},${most}`,
      { kind: 'repeat', item, least: from, most },
      nullable,
    );
  }

  /** What fits all of them. */
  all(...parts: readonly Expression[]): Expression {
    const both = this.#all(parts);
    return both.kind !== 'all' || this.#isAlive(both) ? both : this.never;
  }

  /** What does not fit; only good as a part of `all`. */
  not(of: Expression): Expression {
    return this.#make(`!${of.id}`, { kind: 'not', of }, !of.nullable);
  }

  number(rule: NumberRule, text = ''): Expression {
    if (!rule.begins(text)) return this.never;
    return this.#make(`#${rule.name} ${text}`, { kind: 'number', rule, text }, rule.holds(text));
  }

  /** What is left to be read after the symbol; `never` where it does not fit. */
  step(from: Expression, symbol: number): Expression {
    return (from.next[symbol] ??= this.#step(from, symbol));
  }

  /** The symbols that fit next. */
  firsts(of: Expression): readonly number[] {
    let firsts = this.#firsts.get(of);
    if (!firsts) {
      firsts = this.#symbols(of);
      this.#firsts.set(of, firsts);
    }
    return firsts;
  }

  /**
   * The same for as many symbols as the longest token has: repetitions that go beyond are cut down, so that
   * the states of a long string look alike and share what was found out about one of them.
   */
  clamped(of: Expression): Expression {
    let clamped = this.#clamped.get(of);
    if (!clamped) {
      clamped = this.#clamp(of);
      this.#clamped.set(of, clamped);
    }
    return clamped;
  }

  #set(symbols: Uint8Array): Expression {
    if (!symbols.includes(1)) return this.never;
    return this.#make(`[${symbols.join('')}`, { kind: 'set', symbols }, false);
  }

  #pair(first: Expression, rest: Expression): Expression {
    if (first === this.never || rest === this.never) return this.never;
    if (first === this.empty) return rest;
    if (rest === this.empty) return first;
    if (first.kind === 'sequence') return this.#pair(first.first, this.#pair(first.rest, rest));
    const nullable = first.nullable && rest.nullable;
    return this.#make(`,${first.id},${rest.id}`, { kind: 'sequence', first, rest }, nullable);
  }

  /** `all`, whether anything fits or not. */
  #all(parts: readonly Expression[]): Expression {
    const flat = new Set(parts.flatMap((part) => (part.kind === 'all' ? part.parts : [part])));
    if (flat.has(this.never)) return this.never;
    const sorted = [...flat].sort((a, b) => a.id - b.id);
    if (sorted.length === 1) return sorted[0]!;
    const nullable = sorted.every((part) => part.nullable);
    return this.#make(`&${ids(sorted)}`, { kind: 'all', parts: sorted }, nullable);
  }

  #make(key: string, shape: Shape, nullable: boolean): Expression {
    let known = this.#known.get(key);
    if (!known) {
      known = { ...shape, id: this.#known.size, nullable, next: [] };
      this.#known.set(key, known);
    }
    return known;
  }

  #step(from: Expression, symbol: number): Expression {
    switch (from.kind) {
      case 'never':
      case 'empty':
        return this.never;
      case 'set':
        return from.symbols[symbol] ? this.empty : this.never;
      case 'sequence': {
        const after = this.#pair(this.step(from.first, symbol), from.rest);
        return from.first.nullable ? this.any(after, this.step(from.rest, symbol)) : after;
      }
      case 'any':
        return this.any(...from.options.map((option) => this.step(option, symbol)));
      case 'repeat': {
        const { item, least, most } = from;
        const more = this.repeat(item, Math.max(0, least - 1), most - 1);
        return this.#pair(this.step(item, symbol), more);
      }
      case 'all': {
        const both = this.#stepAll(from.parts, symbol);
        return both.kind !== 'all' || this.#isAlive(both) ? both : this.never;
      }
      case 'not':
        return this.not(this.step(from.of, symbol));
      case 'number':
        return this.number(from.rule, from.text + String.fromCharCode(symbol));
      default:
        return from satisfies never;
    }
  }

  #stepAll(parts: readonly Expression[], symbol: number): Expression {
    return this.#all(parts.map((part) => this.step(part, symbol)));
  }

  #symbols(of: Expression): readonly number[] {
    switch (of.kind) {
      case 'never':
      case 'empty':
        return [];
      case 'set':
        return [...of.symbols.keys()].filter((symbol) => of.symbols[symbol]);
      case 'sequence': {
        const first = this.firsts(of.first);
        return of.first.nullable ? [...new Set([...first, ...this.firsts(of.rest)])] : first;
      }
      case 'any':
        return [...new Set(of.options.flatMap((option) => this.firsts(option)))];
      case 'repeat':
        return this.firsts(of.item);
      case 'all':
        return this.#commonFirsts(of.parts).filter(
          (symbol) => this.step(of, symbol) !== this.never,
        );
      case 'not':
        return [...Array(SYMBOLS).keys()];
      case 'number':
        return DIGITS_AND_SIGNS.filter((symbol) => this.step(of, symbol) !== this.never);
      default:
        return of satisfies never;
    }
  }

  #commonFirsts(parts: readonly Expression[]): readonly number[] {
    const sets = parts.filter(({ kind }) => kind !== 'not').map((part) => this.firsts(part));
    const [smallest = [...Array(SYMBOLS).keys()]] = sets.sort((a, b) => a.length - b.length);
    return smallest;
  }

  /** Whether anything fits an `all`: looks for the shortest text that does, breadth first. */
  #isAlive(start: Expression): boolean {
    const known = this.#alive.get(start);
    if (known !== undefined) return known;
    const cameFrom = new Map<Expression, Expression | null>([[start, null]]);
    const queue = [start];
    for (const state of queue) {
      if (this.#surelyAlive(state)) {
        for (let at: Expression | null = state; at; at = cameFrom.get(at) ?? null) {
          this.#alive.set(at, true);
        }
        return true;
      }
      if (queue.length > MOST_VISITED) throw new TooComplex();
      if (state.kind !== 'all') continue;
      for (const symbol of this.#commonFirsts(state.parts)) {
        const next = this.#stepAll(state.parts, symbol);
        if (cameFrom.has(next) || next === this.never || this.#alive.get(next) === false) continue;
        cameFrom.set(next, state);
        queue.push(next);
      }
    }
    for (const state of queue) this.#alive.set(state, false);
    return false;
  }

  #surelyAlive(state: Expression): boolean {
    if (state.nullable || this.#alive.get(state) === true) return true;
    return state.kind !== 'all' && state.kind !== 'never' && state.kind !== 'not';
  }

  #clamp(of: Expression): Expression {
    switch (of.kind) {
      case 'sequence':
        return this.#pair(this.clamped(of.first), this.clamped(of.rest));
      case 'any':
        return this.any(...of.options.map((option) => this.clamped(option)));
      case 'repeat': {
        const most = of.most > this.#clampTo ? Infinity : of.most;
        const least = Math.min(of.least, this.#clampTo);
        return this.repeat(this.clamped(of.item), least, most);
      }
      case 'never':
      case 'empty':
      case 'set':
      case 'all':
      case 'not':
      case 'number':
        return of; // what is under `all` and `not` counts to the end
      default:
        return of satisfies never;
    }
  }
}

function ids(expressions: readonly Expression[]): string {
  return expressions.map(({ id }) => id).join();
}
