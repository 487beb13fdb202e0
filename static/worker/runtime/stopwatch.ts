/** Times one answer. */
export class Stopwatch {
  readonly #startMs = performance.now();
  #firstMs: number | null = null;
  #lastMs = this.#startMs;
  #tokens = 0;

  /** Call once per token, when it is chosen. */
  token(): void {
    this.#lastMs = performance.now();
    this.#firstMs ??= this.#lastMs;
    this.#tokens += 1;
  }

  /** The rate counts the time between the first token and the last, so not the prompt. */
  read(): { tokens: number; firstTokenMs: number; tokensPerSecond: number | null } {
    const firstMs = this.#firstMs ?? performance.now();
    const decodeMs = this.#lastMs - firstMs;
    return {
      tokens: this.#tokens,
      firstTokenMs: firstMs - this.#startMs,
      tokensPerSecond: decodeMs > 0 ? ((this.#tokens - 1) * 1000) / decodeMs : null,
    };
  }
}
