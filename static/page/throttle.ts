/**
 * Calls `save` now if the last call is long enough ago, else later with the latest value.
 * Saves may overlap when flushed; they begin in the order of their values. One that fails is
 * dropped: the next one holds everything again.
 */
export class Throttle<T> {
  readonly #save: (value: T) => Promise<void>;
  readonly #intervalMs: number;
  #pending: { readonly value: T } | null = null;
  #resting = false;

  constructor(save: (value: T) => Promise<void>, intervalMs: number) {
    this.#save = save;
    this.#intervalMs = intervalMs;
  }

  push(value: T): void {
    this.#pending = { value };
    if (this.#resting) return;
    this.#resting = true;
    this.flush();
    setTimeout(() => {
      this.#resting = false;
      if (this.#pending) this.push(this.#pending.value);
    }, this.#intervalMs);
  }

  /** Begin to save what still waits, before this returns. */
  flush(): void {
    if (!this.#pending) return;
    const { value } = this.#pending;
    this.#pending = null;
    void this.#save(value).catch(() => {});
  }
}
