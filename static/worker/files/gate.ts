/** Something to wait at while it is closed. Opens and closes any number of times. */
export class Gate {
  #closed = false;
  readonly #onChange = new Set<() => void>();

  get closed(): boolean {
    return this.#closed;
  }

  set closed(closed: boolean) {
    if (closed === this.#closed) return;
    this.#closed = closed;
    for (const listener of [...this.#onChange]) listener();
  }

  /** Resolves while the gate is open; rejects with the signal's reason. */
  async passed({ signal }: { signal: AbortSignal }): Promise<void> {
    while (this.#closed) await this.#change(signal);
    signal.throwIfAborted();
  }

  /** Calls back when the gate opens or closes, until the returned function is called. */
  watch(listener: () => void): () => void {
    this.#onChange.add(listener);
    return () => {
      this.#onChange.delete(listener);
    };
  }

  #change(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const stop = this.watch(() => {
        end(resolve);
      });
      const abort = () => {
        end(() => {
          reject(signal.reason as Error);
        });
      };
      const end = (settle: () => void) => {
        stop();
        signal.removeEventListener('abort', abort);
        settle();
      };
      signal.addEventListener('abort', abort);
    });
  }
}
