/**
 * Text of token ids, as they come.
 * A character that is split between tokens is held back until it is whole.
 */
export class StreamingDetokenizer {
  readonly #bytesOf: (id: number) => Uint8Array | null;
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  #stripSpace: boolean;

  /**
   * bytesOf: null for ids that are left out.
   * stripsFirstSpace: one space at the start is the tokenizer's own and is left out.
   */
  constructor(bytesOf: (id: number) => Uint8Array | null, stripsFirstSpace: boolean) {
    this.#bytesOf = bytesOf;
    this.#stripSpace = stripsFirstSpace;
  }

  /** The text that the id completes; may be empty. */
  push(id: number): string {
    const bytes = this.#bytesOf(id);
    return bytes === null ? '' : this.#strip(this.#decoder.decode(bytes, { stream: true }));
  }

  /** U+FFFD for a character that never became whole, else nothing. */
  flush(): string {
    return this.#strip(this.#decoder.decode());
  }

  #strip(text: string): string {
    if (!this.#stripSpace || text === '') return text;
    this.#stripSpace = false;
    return text.startsWith(' ') ? text.slice(1) : text;
  }
}
