import type { FileEntry } from '../../shared/manifest';
import { chunkLength } from './chunks';
import type { FileStore, StoredFile } from './store';

const CACHE = 'localphi-models';
/** Cache Storage wants addresses; nothing is served at these. */
const FOLDER = '/.localphi-kept/';
const SIZE_HEADER = 'x-bytes';

/** Cache Storage, or null where the browser refuses it. For browsers without a private file system. */
export async function openCacheStore(): Promise<FileStore | null> {
  try {
    return new CacheStore(await caches.open(CACHE));
  } catch {
    return null;
  }
}

/** Deletes what an earlier visit kept there, now that there is a better place. */
export async function dropCacheStore(): Promise<void> {
  try {
    await caches.delete(CACHE);
  } catch {
    // No Cache Storage, so there is nothing in it.
  }
}

/** One entry for each chunk, `<sha256>/<chunk>`; one for each manifest, `manifests/<id>`. */
class CacheStore implements FileStore {
  readonly kind = 'cache';
  readonly #cache: Cache;

  constructor(cache: Cache) {
    this.#cache = cache;
  }

  async open(file: FileEntry): Promise<StoredFile> {
    const keys = new Set(await this.#keys());
    const mark = await this.#cache.match(addressOf(file.sha256, 'checked'));
    const checkedAtMs = Number((await mark?.text()) ?? 0);
    return new CachedFile(this.#cache, file, keys, checkedAtMs);
  }

  async remove(sha256: string): Promise<void> {
    for (const key of await this.#keys()) {
      if (key.startsWith(`${sha256}/`)) await this.#cache.delete(FOLDER + key);
    }
  }

  async list(): Promise<ReadonlyMap<string, number>> {
    const sizes = new Map<string, number>();
    for (const key of await this.#keys()) {
      const sha256 = key.split('/')[0]!;
      if (sha256 === 'manifests') continue;
      const entry = await this.#cache.match(FOLDER + key);
      const bytes = Number(entry?.headers.get(SIZE_HEADER) ?? 0);
      sizes.set(sha256, (sizes.get(sha256) ?? 0) + bytes);
    }
    return sizes;
  }

  async manifests(): Promise<ReadonlyMap<string, string>> {
    const manifests = new Map<string, string>();
    for (const key of await this.#keys()) {
      const [folder, name] = key.split('/');
      if (folder !== 'manifests') continue;
      const entry = await this.#cache.match(FOLDER + key);
      if (entry) manifests.set(decodeURIComponent(name!), await entry.text());
    }
    return manifests;
  }

  async writeManifest(modelId: string, text: string): Promise<void> {
    await this.#cache.put(addressOf('manifests', encodeURIComponent(modelId)), new Response(text));
  }

  async removeManifest(modelId: string): Promise<void> {
    await this.#cache.delete(addressOf('manifests', encodeURIComponent(modelId)));
  }

  async #keys(): Promise<string[]> {
    const requests = await this.#cache.keys();
    const paths = requests.map(({ url }) => new URL(url).pathname);
    return paths.filter((path) => path.startsWith(FOLDER)).map((path) => path.slice(FOLDER.length));
  }
}

class CachedFile implements StoredFile {
  readonly unknown = false;
  readonly #cache: Cache;
  readonly #file: FileEntry;
  readonly #whole: Set<number>;
  checkedAtMs: number;

  constructor(cache: Cache, file: FileEntry, keys: ReadonlySet<string>, checkedAtMs: number) {
    this.#cache = cache;
    this.#file = file;
    const chunks = [...file.chunks.keys()];
    this.#whole = new Set(
      chunks.filter((chunk) => keys.has(`${file.sha256}/${this.#name(chunk)}`)),
    );
    this.checkedAtMs = checkedAtMs;
  }

  get lackingBytes(): number {
    const chunks = [...this.#file.chunks.keys()];
    return chunks.reduce(
      (sum, chunk) => sum + chunkLength(this.#file, chunk) - this.filled(chunk),
      0,
    );
  }

  filled(chunk: number): number {
    return this.#whole.has(chunk) ? chunkLength(this.#file, chunk) : 0;
  }

  async read(chunk: number): Promise<Uint8Array<ArrayBuffer>> {
    const entry = await this.#cache.match(this.#address(chunk));
    return new Uint8Array((await entry?.arrayBuffer()) ?? new ArrayBuffer(0));
  }

  async commit(chunk: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const headers = { [SIZE_HEADER]: String(bytes.length) };
    await this.#cache.put(this.#address(chunk), new Response(bytes, { headers }));
    this.#whole.add(chunk);
  }

  async discard(chunk: number): Promise<void> {
    this.#whole.delete(chunk);
    await this.#cache.delete(this.#address(chunk));
  }

  async noteChecked(atMs: number): Promise<void> {
    this.checkedAtMs = atMs;
    const address = addressOf(this.#file.sha256, 'checked');
    await this.#cache.put(address, new Response(String(atMs)));
  }

  async blob(): Promise<Blob> {
    const chunks = [...this.#file.chunks.keys()];
    const entries = await Promise.all(
      chunks.map((chunk) => this.#cache.match(this.#address(chunk))),
    );
    return new Blob(await Promise.all(entries.map((entry) => entry!.blob())));
  }

  reserve = () => Promise.resolve();
  keepPart = () => Promise.resolve();
  vouch = () => Promise.resolve();
  close = () => {};

  /** Chunks of another size are other chunks. */
  #name(chunk: number): string {
    return `${this.#file.chunkBytes}-${chunk}`;
  }

  #address(chunk: number): string {
    return addressOf(this.#file.sha256, this.#name(chunk));
  }
}

function addressOf(folder: string, name: string): string {
  return `${FOLDER}${folder}/${name}`;
}
