import type { Logits } from './logits';

/** What the decode loop needs of a model; one call at a time. */
export interface DecoderSession {
  /** The ids read so far. */
  readonly ids: readonly number[];
  /**
   * Read the ids after those read so far.
   * Returns the logits of each, or of the last one alone; good until the next call.
   * Rejects with a `device` error.
   */
  read(ids: readonly number[]): Promise<readonly Logits[]>;
  /** Whether `read` gives the logits of each id; false until that is known. */
  readonly logitsOfAll: boolean;
  /** True where several ids are quick to read at the very beginning alone, and behind others one by one. */
  readonly readsFromTheStart?: boolean;
  /** Forget all but the first `length` ids; those keep their place in the cache. */
  rewind(length: number): void;
  /** Frees graph and cache. May be called twice. */
  dispose(): Promise<void>;
}
