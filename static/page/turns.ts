/** A queue for something that one at a time can use: first come, first served, whatever becomes of the others. */
export class Turns {
  #taken = false;
  readonly #waiting: (() => void)[] = [];

  /**
   * Null when the turn is the caller's at once, else resolves when it is; `leave` gives it up.
   * Rejects when the signal is aborted before that, and then there is nothing to give up.
   */
  enter(signal: AbortSignal): Promise<void> | null {
    if (!this.#taken) {
      this.#taken = true;
      return null;
    }
    return new Promise((resolve, reject) => {
      const begin = () => {
        signal.removeEventListener('abort', giveUp);
        resolve();
      };
      const giveUp = () => {
        this.#waiting.splice(this.#waiting.indexOf(begin), 1);
        reject(new DOMException('stopped', 'AbortError'));
      };
      if (signal.aborted) {
        reject(new DOMException('stopped', 'AbortError'));
        return;
      }
      this.#waiting.push(begin);
      signal.addEventListener('abort', giveUp, { once: true });
    });
  }

  /** The next in line has its turn now: who comes between cannot overtake. */
  leave(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#taken = false;
  }
}
