/** Text on its way from who makes it to who reads it, each at a pace of their own. */
export class TextStream<End> {
  #text = '';
  #begun = false;
  #result: { readonly end: End } | { readonly error: unknown } | null = null;
  #wake: (() => void)[] = [];

  /** The answer is under way: what can be refused beforehand was not. */
  begin(): void {
    this.#begun = true;
    this.#changed();
  }

  push(text: string): void {
    this.#text += text;
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

  /** What has come since the last call, as one text; null at the end. Rejects where it failed. */
  async next(): Promise<{ readonly text: string | null }> {
    while (this.#text === '' && !this.#result) await this.#change();
    const text = this.#text;
    this.#text = '';
    if (text !== '') return { text };
    this.#end();
    return { text: null };
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
