import type { FileEntry } from '../../shared/manifest';
import type { FileStore, StoredFile } from './store';

/** A store that is empty again after this visit. Blobs are kept outside the JavaScript heap. */
export class MemoryStore implements FileStore {
  readonly kind = 'memory';
  readonly #files = new Map<string, Map<number, Blob>>();
  readonly #manifests = new Map<string, string>();

  open(file: FileEntry): Promise<StoredFile> {
    const chunks = this.#files.get(file.sha256) ?? new Map<number, Blob>();
    this.#files.set(file.sha256, chunks);
    return Promise.resolve(new MemoryFile(file, chunks));
  }

  remove(sha256: string): Promise<void> {
    this.#files.delete(sha256);
    return Promise.resolve();
  }

  list(): Promise<ReadonlyMap<string, number>> {
    const sizes = [...this.#files].map(
      ([sha256, chunks]) => [sha256, totalSize(chunks.values())] as const,
    );
    return Promise.resolve(new Map(sizes.filter(([, bytes]) => bytes > 0)));
  }

  manifests(): Promise<ReadonlyMap<string, string>> {
    return Promise.resolve(new Map(this.#manifests));
  }

  writeManifest(modelId: string, text: string): Promise<void> {
    this.#manifests.set(modelId, text);
    return Promise.resolve();
  }

  removeManifest(modelId: string): Promise<void> {
    this.#manifests.delete(modelId);
    return Promise.resolve();
  }
}

class MemoryFile implements StoredFile {
  readonly unknown = false;
  readonly #file: FileEntry;
  readonly #chunks: Map<number, Blob>;
  checkedAtMs = 0;

  constructor(file: FileEntry, chunks: Map<number, Blob>) {
    this.#file = file;
    this.#chunks = chunks;
  }

  get lackingBytes(): number {
    return this.#file.sizeBytes - totalSize(this.#chunks.values());
  }

  filled(chunk: number): number {
    return this.#chunks.get(chunk)?.size ?? 0;
  }

  async read(chunk: number): Promise<Uint8Array<ArrayBuffer>> {
    const blob = this.#chunks.get(chunk);
    return new Uint8Array((await blob?.arrayBuffer()) ?? new ArrayBuffer(0));
  }

  commit(chunk: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#chunks.set(chunk, new Blob([bytes]));
    return Promise.resolve();
  }

  discard(chunk: number): Promise<void> {
    this.#chunks.delete(chunk);
    return Promise.resolve();
  }

  noteChecked(atMs: number): Promise<void> {
    this.checkedAtMs = atMs;
    return Promise.resolve();
  }

  blob(): Promise<Blob> {
    const chunks = [...this.#file.chunks.keys()].map((chunk) => this.#chunks.get(chunk)!);
    return Promise.resolve(new Blob(chunks));
  }

  reserve = () => Promise.resolve();
  keepPart = () => Promise.resolve();
  vouch = () => Promise.resolve();
  close = () => {};
}

function totalSize(blobs: Iterable<Blob>): number {
  return [...blobs].reduce((sum, { size }) => sum + size, 0);
}
