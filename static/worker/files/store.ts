/**
 * Model files kept from one visit to the next, each under the SHA-256 of its content.
 * A store never hands out a file that was not written to its end.
 */
export interface FileStore {
  /** Whether files outlive this visit. */
  readonly lasting: boolean;
  /** The file's content, or null when it is absent or incomplete. */
  open(sha256: string): Promise<Blob | null>;
  /**
   * Begin to write a file, replacing what is left of an earlier attempt.
   * Rejects when the store cannot take it (no space, not allowed).
   */
  create(sha256: string, sizeBytes: number): Promise<FileWriter>;
  /** Deletes the file; no-op when absent. */
  remove(sha256: string): Promise<void>;
  /** Manifests by model id, as they were written. */
  manifests(): Promise<ReadonlyMap<string, string>>;
  writeManifest(modelId: string, text: string): Promise<void>;
  /** Deletes every file whose SHA-256 is not in `keep`. */
  prune(keep: ReadonlySet<string>): Promise<void>;
}

/** Exactly one of `commit` and `abort` ends the writing. */
export interface FileWriter {
  /** Appends. Throws when there is no more space. The bytes may be reused afterwards. */
  write(bytes: Uint8Array): void;
  /** Makes the file valid and returns its content. */
  commit(): Promise<Blob>;
  /** Leaves no file behind. */
  abort(): Promise<void>;
}
