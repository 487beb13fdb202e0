import type { AdapterTensors } from './adapter-file';
import type { Logits } from './logits';

/** key: tells its weights apart from others. load: asked where they are not on the device. */
export interface WornAdapter {
  readonly key: string;
  load(): Promise<AdapterTensors>;
}

export interface Adaptable {
  /**
   * Compute with an adapter from now on, without one for null. What was read with another one is forgotten.
   * Rejects with what `load` does, with an `adapter` error for one that does not fit, and with `device`.
   */
  wear(adapter: WornAdapter | null): Promise<void>;
}

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
  /** Null, or missing, where the graph takes no adapters. */
  readonly adapters?: Adaptable | null;
  /** Forget all but the first `length` ids; those keep their place in the cache. */
  rewind(length: number): void;
  /** Frees graph and cache. May be called twice. */
  dispose(): Promise<void>;
}
