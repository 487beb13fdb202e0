import type { FileStore, FileWriter } from './store';

/** A store that is empty again after this visit. */
export class MemoryStore implements FileStore {
  readonly lasting = false;
  readonly #files = new Map<string, Blob>();
  readonly #manifests = new Map<string, string>();

  open(sha256: string): Promise<Blob | null> {
    return Promise.resolve(this.#files.get(sha256) ?? null);
  }

  create(sha256: string): Promise<FileWriter> {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    return Promise.resolve({
      write: (bytes) => {
        parts.push(bytes.slice());
      },
      commit: () => {
        const blob = new Blob(parts);
        this.#files.set(sha256, blob);
        return Promise.resolve(blob);
      },
      abort: () => Promise.resolve(),
    });
  }

  remove(sha256: string): Promise<void> {
    this.#files.delete(sha256);
    return Promise.resolve();
  }

  manifests(): Promise<ReadonlyMap<string, string>> {
    return Promise.resolve(new Map(this.#manifests));
  }

  writeManifest(modelId: string, text: string): Promise<void> {
    this.#manifests.set(modelId, text);
    return Promise.resolve();
  }

  prune(keep: ReadonlySet<string>): Promise<void> {
    for (const sha256 of this.#files.keys()) if (!keep.has(sha256)) this.#files.delete(sha256);
    return Promise.resolve();
  }
}
