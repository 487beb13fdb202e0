/** An answer on its way from who makes it to who reads it, each at a pace of their own. */
import type { CallPiece } from '../shared/protocol';

export type Item = string | CallPiece;

export class AnswerStream<End> {
  readonly #items: Item[] = [];
  #begun = false;
  #result: { readonly end: End } | { readonly error: unknown } | null = null;
  #wake: (() => void)[] = [];

  /** The answer is under way: what can be refused beforehand was not. */
  begin(): void {
    this.#begun = true;
    this.#changed();
  }

  /** Text follows text, and arguments those of the same call: they become one item. */
  push(item: Item): void {
    const last = this.#items.at(-1);
    const joined = last === undefined ? null : together(last, item);
    if (joined === null) this.#items.push(item);
    else this.#items[this.#items.length - 1] = joined;
    this.begin();
  }

  end(end: End): void {
    this.#result = { end };
    this.#changed();
  }

  fail(error: unknown): void {
    this.#result = { error };
    this.#changed();
  }

  /** Resolves once the answer is under way or over; rejects when it failed before that. */
  async begun(): Promise<void> {
    while (!this.#begun && !this.#result) await this.#change();
    if (!this.#begun) this.#end();
  }

  /** What has come since the last call, piece by piece; null at the end. Rejects where it failed. */
  async next(): Promise<{ readonly item: Item | null }> {
    while (this.#items.length === 0 && !this.#result) await this.#change();
    const item = this.#items.shift();
    if (item !== undefined) return { item };
    this.#end();
    return { item: null };
  }

  async ended(): Promise<End> {
    while (!this.#result) await this.#change();
    return this.#end();
  }

  #end(): End {
    if (!this.#result) throw new Error('the answer is not over');
    if ('error' in this.#result) throw this.#result.error;
    return this.#result.end;
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake.push(resolve);
    });
  }

  #changed(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

function together(last: Item, item: Item): Item | null {
  if (typeof last === 'string') return typeof item === 'string' ? last + item : null;
  if (typeof item === 'string' || last.type !== 'arguments' || item.type !== 'arguments')
    return null;
  return { ...last, text: last.text + item.text };
}
