/** Whether a model fits the memory there is, by its size alone. */
export type Fit = 'fits' | 'tight' | 'too-big' | 'unknown';

/** Weights, and what the cache and the runtime take beside them. */
const NEEDS = 1.2;
/** More than this share of the memory leaves little for anything else. */
const COMFORTABLE = 0.75;

export function fitOf(sizeBytes: number | null, memoryBytes: number | null): Fit {
  if (sizeBytes === null || memoryBytes === null) return 'unknown';
  const share = (sizeBytes * NEEDS) / memoryBytes;
  if (share > 1) return 'too-big';
  return share > COMFORTABLE ? 'tight' : 'fits';
}
