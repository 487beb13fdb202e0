/** The files of the page, as one build made them. */
export interface Shell {
  /** Another build has another version. */
  readonly version: string;
  /** Paths, from `/` on. */
  readonly files: readonly string[];
}

const CACHE_PREFIX = 'localphi-page-';
const START = '/';

/** Files of ONNX Runtime, of which a browser needs one build only: the one with JSPI, or the other. */
const JSPI_FILE = /^\/ort\/.*jspi/;
const OTHER_FILE = /^\/ort\/(?!.*jspi)/;

/** Keeps the files of a build, so that the page opens without its server. */
export class ShellCache {
  readonly #shell: Shell;
  readonly #caches: CacheStorage;
  readonly #files: ReadonlySet<string>;

  /** jspi: whether this browser can suspend WebAssembly. */
  constructor(shell: Shell, jspi: boolean, cacheStorage: CacheStorage) {
    const unused = jspi ? OTHER_FILE : JSPI_FILE;
    this.#shell = shell;
    this.#caches = cacheStorage;
    this.#files = new Set(shell.files.filter((file) => !unused.test(file)));
  }

  /** Fetches every file; rejects, and keeps nothing, when one of them does not come. */
  async fill(): Promise<void> {
    const cache = await this.#caches.open(this.#name);
    try {
      const requests = [...this.#files].map((file) => new Request(file, { cache: 'no-cache' }));
      await cache.addAll(requests);
    } catch (error) {
      await this.#caches.delete(this.#name);
      throw error;
    }
  }

  /** Forgets the files of other builds. */
  async prune(): Promise<void> {
    const names = await this.#caches.keys();
    const old = names.filter((name) => name.startsWith(CACHE_PREFIX) && name !== this.#name);
    await Promise.all(old.map((name) => this.#caches.delete(name)));
  }

  /** Whether an address is one of the page's files. The question part of the start page is the page's. */
  has(url: URL): boolean {
    return this.#files.has(url.pathname) && (url.pathname === START || url.search === '');
  }

  /** The kept file of an address that `has` knows; from the server where the browser threw it away. */
  async file(url: URL): Promise<Response> {
    const cache = await this.#caches.open(this.#name);
    return (await cache.match(url.pathname)) ?? fetch(url.pathname);
  }

  get #name(): string {
    return CACHE_PREFIX + this.#shell.version;
  }
}
