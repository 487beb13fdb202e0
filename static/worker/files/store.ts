import type { FileEntry } from '../../shared/manifest';

/** `opfs` and `cache` outlive the visit where the browser lets them; `memory` does not. */
export type StoreKind = 'opfs' | 'cache' | 'memory';

/**
 * Model files, each under the SHA-256 of its content, in the chunks of its manifest.
 * A store knows by itself which chunks are whole, so that a download goes on after a crash.
 */
export interface FileStore {
  readonly kind: StoreKind;
  /**
   * The file and what is known of it. Writes nothing yet.
   * One writer at a time: hold the file's lock before writing.
   */
  open(file: FileEntry): Promise<StoredFile>;
  /** Deletes the file and what is known of it; no-op when absent. Rejects while it is being written. */
  remove(sha256: string): Promise<void>;
  /** Bytes taken by each file of which anything is kept, by SHA-256. */
  list(): Promise<ReadonlyMap<string, number>>;
  /** Manifests by model id, as they were written. */
  manifests(): Promise<ReadonlyMap<string, string>>;
  writeManifest(modelId: string, text: string): Promise<void>;
  /** No-op when absent. */
  removeManifest(modelId: string): Promise<void>;
}

/** What a store keeps of one file. Rejects with the browser's error when the store refuses. */
export interface StoredFile {
  /** Bytes of the chunk at hand, from its beginning. A chunk is whole once it was committed. */
  filled(chunk: number): number;
  /** There are bytes, but nothing tells which chunks are whole: compare each, then vouch for it. */
  readonly unknown: boolean;
  /** When every chunk was last compared with the manifest, in ms of the epoch; 0 for never. */
  readonly checkedAtMs: number;
  /** Space that the rest will take. */
  readonly lackingBytes: number;
  /** Takes that space. Better refused now than after a long download. */
  reserve(): Promise<void>;
  /** The bytes of the chunk at hand; fewer than `filled` when they cannot be read. */
  read(chunk: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Keeps the bytes that have come of a chunk that is not whole yet, from its beginning. May do nothing. */
  keepPart(chunk: number, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Keeps a chunk, which is whole from here on. The bytes may be reused afterwards. */
  commit(chunk: number, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** What is kept of the chunk is whole. */
  vouch(chunk: number): Promise<void>;
  /** Forgets the chunk. */
  discard(chunk: number): Promise<void>;
  noteChecked(atMs: number): Promise<void>;
  /** The file, once every chunk is whole. Where it can, it is read from the disk piece by piece. */
  blob(): Promise<Blob>;
  /** Lets others write. May be called twice. */
  close(): void;
}
