type Callback = (lock: object | null) => unknown;

interface Options {
  readonly ifAvailable?: boolean;
  readonly signal?: AbortSignal;
}

/** Exclusive locks, as Web Locks has them, among everything in one test. */
export class FakeLocks {
  readonly #tails = new Map<string, Promise<unknown>>();

  async request(name: string, ...rest: [Callback] | [Options, Callback]): Promise<unknown> {
    const callback = rest.at(-1) as Callback;
    const { ifAvailable = false, signal } = rest.length === 2 ? rest[0] : {};
    const tail = this.#tails.get(name);
    if (tail && ifAvailable) return callback(null);
    const aborted = new Promise<never>((_, reject) => {
      signal?.addEventListener('abort', () => {
        reject(signal.reason as Error);
      });
    });
    const done = (tail ? Promise.race([tail, aborted]) : Promise.resolve()).then(() =>
      callback({ name }),
    );
    const next: Promise<unknown> = done
      .catch(() => {})
      .then(() => {
        if (this.#tails.get(name) === next) this.#tails.delete(name);
      });
    this.#tails.set(name, next);
    return done;
  }
}
