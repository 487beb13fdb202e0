/** The part of Cache Storage that the store uses, in memory. */
const ORIGIN = 'https://localphi.test';

class FakeCache {
  readonly #entries = new Map<string, { bytes: ArrayBuffer; headers: Headers }>();

  async put(path: string, response: Response): Promise<void> {
    const entry = { bytes: await response.arrayBuffer(), headers: response.headers };
    this.#entries.set(path, entry);
  }

  match(path: string): Promise<Response | undefined> {
    const entry = this.#entries.get(path);
    return Promise.resolve(entry && new Response(entry.bytes, { headers: entry.headers }));
  }

  delete(path: string): Promise<boolean> {
    return Promise.resolve(this.#entries.delete(path));
  }

  keys(): Promise<{ url: string }[]> {
    return Promise.resolve([...this.#entries.keys()].map((path) => ({ url: ORIGIN + path })));
  }
}

export class FakeCaches {
  readonly #caches = new Map<string, FakeCache>();

  open(name: string): Promise<FakeCache> {
    const cache = this.#caches.get(name) ?? new FakeCache();
    this.#caches.set(name, cache);
    return Promise.resolve(cache);
  }

  has(name: string): Promise<boolean> {
    return Promise.resolve(this.#caches.has(name));
  }

  delete(name: string): Promise<boolean> {
    return Promise.resolve(this.#caches.delete(name));
  }
}
