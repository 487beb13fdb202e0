import type { BrowserDevice } from '../shared/protocol';

export interface Plan {
  readonly device: BrowserDevice;
  /** Lengths of prompts in tokens. */
  readonly contexts: readonly number[];
  /** Length of the answers. */
  readonly tokens: number;
  /** How often everything is measured, in turn. */
  readonly rounds: number;
  /** Names of the peers to measure beside ours. */
  readonly peers: readonly string[];
  /** Whether to compare answers with the server's. */
  readonly server: boolean;
}

export const CONTEXTS: readonly number[] = [128, 1024, 2048];

/** The contexts that the model has room for, a little shortened where an answer would not fit behind. */
export function fitting(
  contexts: readonly number[],
  tokens: number,
  contextLength: number,
): number[] {
  const room = Math.floor((contextLength - tokens) * 0.98); // lengths are estimates
  const fit = contexts.filter((length) => length <= contextLength);
  return [...new Set(fit.map((length) => Math.min(length, room)))].filter((length) => length > 0);
}
