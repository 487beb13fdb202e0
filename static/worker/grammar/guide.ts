/** Holds one answer to its grammar, token by token. */
import { CLOSING, END, Expressions, OPENING } from './expression';
import type { Expression } from './expression';
import type { Vocabulary } from './vocabulary';

/** Tokens that a grammar names by id. */
export interface MarkIds {
  readonly opening: number | null;
  readonly closing: number | null;
  readonly ends: ReadonlySet<number>;
}

/** Tokens that may come next. */
export interface Allowed {
  /** One bit for each id. */
  readonly bits: Uint32Array;
  readonly count: number;
  /** The smallest. */
  readonly first: number;
}

/** Text to ids, for what a grammar leaves no choice about. */
export type Encode = (text: string) => readonly number[];

/** Tokens from the end of a forced text that may turn out otherwise. */
const LOOKBACK = 4;
/** States whose tokens are remembered; each takes 25 kB for 200,000 tokens. */
const MOST_KEPT = 400;

export function isAllowed({ bits }: Allowed, id: number): boolean {
  return ((bits[id >>> 5] ?? 0) >>> (id & 31)) & 1 ? true : false;
}

/** What may come next in a grammar, for all answers that have it: states are shared. */
export class Guide {
  readonly expressions: Expressions;
  readonly #vocabulary: Vocabulary;
  readonly #marks: MarkIds;
  readonly #encode: Encode;
  readonly #bytesOf: (id: number) => Uint8Array | null;
  readonly #allowed = new Map<Expression, Allowed>();

  constructor(
    vocabulary: Vocabulary,
    marks: MarkIds,
    bytesOf: (id: number) => Uint8Array | null,
    encode: Encode,
  ) {
    this.expressions = new Expressions(vocabulary.longest);
    this.#vocabulary = vocabulary;
    this.#marks = marks;
    this.#bytesOf = bytesOf;
    this.#encode = encode;
  }

  begin(grammar: Expression): GuidedAnswer {
    return new GuidedAnswer(this, grammar);
  }

  /** The state after a token; `never` for one that is not allowed. */
  after(state: Expression, id: number): Expression {
    const { opening, closing, ends } = this.#marks;
    const { expressions } = this;
    if (id === opening) return expressions.step(state, OPENING);
    if (id === closing) return expressions.step(state, CLOSING);
    if (ends.has(id)) return expressions.step(state, END);
    const bytes = this.#bytesOf(id);
    if (!bytes) return expressions.never;
    return bytes.reduce((at, byte) => expressions.step(at, byte), state);
  }

  allowed(state: Expression): Allowed {
    const clamped = this.expressions.clamped(state);
    let allowed = this.#allowed.get(clamped);
    if (!allowed) {
      allowed = this.#walk(clamped);
      this.#allowed.set(clamped, allowed);
      const [oldest] = this.#allowed.keys();
      if (this.#allowed.size > MOST_KEPT && oldest) this.#allowed.delete(oldest);
    }
    return allowed;
  }

  /**
   * The tokens of what the grammar leaves no choice about: as the text is encoded, without those at its end
   * that what follows may change. last: the id before, with which the text may become one token.
   * The server's library chooses the same (llguidance, `ff_tokens`).
   */
  forced(state: Expression, last: number | null): readonly number[] {
    const { opening, closing } = this.#marks;
    const ids: number[] = [];
    let at = state;
    let before = last;
    for (;;) {
      const bytes: number[] = [];
      let symbol = this.#only(at);
      for (; symbol !== null && symbol < OPENING; symbol = this.#only(at)) {
        bytes.push(symbol);
        at = this.expressions.step(at, symbol);
      }
      const mark = symbol === OPENING ? opening : symbol === CLOSING ? closing : null;
      const encoded = bytes.length > 0 ? this.#encoded(bytes, before) : [];
      if (mark === null) return [...ids, ...this.#withoutOpenEnd(encoded, at)];
      ids.push(...encoded, mark);
      before = mark;
      at = this.expressions.step(at, symbol!);
    }
  }

  /** The only symbol that may come next, null where there is a choice. */
  #only(state: Expression): number | null {
    if (state.nullable) return null;
    const firsts = this.expressions.firsts(state);
    return firsts.length === 1 ? firsts[0]! : null;
  }

  #encoded(bytes: readonly number[], last: number | null): readonly number[] {
    const before = last === null ? null : this.#bytesOf(last);
    const together = before && this.#ids([...before, ...bytes]);
    return together?.[0] === last ? together.slice(1) : this.#ids(bytes);
  }

  #ids(bytes: readonly number[]): readonly number[] {
    try {
      const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
        Uint8Array.from(bytes),
      );
      const ids = this.#encode(text);
      const length = ids.reduce((sum, id) => sum + (this.#bytesOf(id)?.length ?? 0), 0);
      return length === bytes.length ? ids : []; // some tokenizers put a space before
    } catch {
      return []; // within a character: no text to encode
    }
  }

  /** state: after all of the ids. */
  #withoutOpenEnd(ids: readonly number[], state: Expression): readonly number[] {
    const lengths = ids.map((id) => this.#bytesOf(id)?.length ?? 0);
    const tail = ids.slice(-LOOKBACK).flatMap((id) => [...(this.#bytesOf(id) ?? [])]);
    const end = tail.slice(-this.#vocabulary.longest);
    const open = end.findIndex((_, i) => this.#goesOn(Uint8Array.from(end.slice(i)), state));
    if (open < 0) return ids;
    let kept = ids.length;
    for (let cut = end.length - open; cut > 0 && kept > 0;) cut -= lengths[--kept]!;
    return ids.slice(0, kept);
  }

  /** Whether a longer token begins with the text and goes on as the state allows. */
  #goesOn(text: Uint8Array, state: Expression): boolean {
    const { bytes, depths, ends, from } = this.#vocabulary;
    const start = this.#vocabulary.find(text);
    if (start < 0) return false;
    const states = [state];
    for (let node = start + 1; node < ends[start]!;) {
      const depth = depths[node]! - text.length;
      const next = this.expressions.step(states[depth]!, bytes[node]!);
      if (next === this.expressions.never) {
        node = ends[node]!;
        continue;
      }
      if (from[node]! < from[node + 1]!) return true;
      states[depth + 1] = next;
      node++;
    }
    return false;
  }

  #walk(start: Expression): Allowed {
    const { bytes, depths, ends, from, ids } = this.#vocabulary;
    const { never } = this.expressions;
    const bits = new Uint32Array(Math.ceil(this.#vocabulary.size / 32));
    const allow = (id: number) => {
      bits[id >>> 5]! |= 1 << (id & 31);
    };
    const states = [start];
    for (let node = 0; node < bytes.length;) {
      const depth = depths[node]!;
      const before = states[depth]!;
      const byte = bytes[node]!;
      const next = before.next[byte] ?? this.expressions.step(before, byte);
      if (next === never) {
        node = ends[node]!;
        continue;
      }
      for (let place = from[node]!; place < from[node + 1]!; place++) allow(ids[place]!);
      states[depth + 1] = next;
      node++;
    }
    const { opening, closing, ends: endIds } = this.#marks;
    const fits = (symbol: number) => this.expressions.step(start, symbol) !== never;
    if (opening !== null && fits(OPENING)) allow(opening);
    if (closing !== null && fits(CLOSING)) allow(closing);
    if (start.nullable || fits(END)) for (const id of endIds) allow(id);
    return counted(bits);
  }
}

/** Where one answer stands in its grammar. */
export class GuidedAnswer {
  readonly #guide: Guide;
  #state: Expression;
  #last: number | null = null;

  constructor(guide: Guide, grammar: Expression) {
    this.#guide = guide;
    this.#state = grammar;
  }

  get allowed(): Allowed {
    return this.#guide.allowed(this.#state);
  }

  /**
   * Goes past the ids, at most so many, that come next in any case; often none. One after the other, as each
   * may change how the rest is encoded.
   */
  forced(most: number): readonly number[] {
    const ids: number[] = [];
    while (ids.length < most) {
      const [id] = this.#guide.forced(this.#state, this.#last);
      if (id === undefined) break;
      ids.push(id);
      this.push(id);
    }
    return ids;
  }

  /** Tells the next id, which must be allowed; an end token changes nothing. */
  push(id: number): void {
    this.#state = this.#guide.after(this.#state, id);
    this.#last = id;
  }
}

function counted(bits: Uint32Array): Allowed {
  let count = 0;
  let first = -1;
  bits.forEach((word, i) => {
    if (word !== 0 && first < 0) first = i * 32 + 31 - Math.clz32(word & -word);
    for (let left = word; left !== 0; left &= left - 1) count++;
  });
  return { bits, count, first };
}
