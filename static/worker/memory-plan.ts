/** Whether a model has room on a device: worked out from what the manifest says, before it is fetched. */
import type { VariantMemory } from '../shared/manifest';

/** What a model needs on a device, in bytes. */
export interface MemoryNeed {
  readonly weights: number;
  /** The keys of one layer, or its values, for as many tokens as the model reads. */
  readonly cacheBuffer: number;
}

export function needOf(
  { weightsBytes, kvBytesPerToken }: VariantMemory,
  layers: number,
  contextLength: number,
): MemoryNeed {
  const cache = kvBytesPerToken * contextLength;
  return { weights: weightsBytes, cacheBuffer: cache / (2 * layers) };
}

/** The cache lies in buffers of fixed size, each bound whole. Why it cannot, or null. */
export function planWebGpu(
  { cacheBuffer }: MemoryNeed,
  limits: Pick<GPUSupportedLimits, 'maxBufferSize' | 'maxStorageBufferBindingSize'>,
): string | null {
  const most = Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize);
  if (cacheBuffer <= most) return null;
  return `the cache needs buffers of ${cacheBuffer} bytes, and the adapter allows ${most}`;
}

/** What 32-bit WebAssembly can address. */
const MOST_WASM_BYTES = 2 ** 32;
/** Browsers tell no more than this, so it may be more. */
const MOST_TOLD_GIB = 8;

/** The weights lie in WebAssembly's memory, and the cache grows with what is read. Why not, or null. */
export function planWasm({ weights }: MemoryNeed, deviceGiB: number | null): string | null {
  if (weights >= MOST_WASM_BYTES)
    return `the weights take ${weights} bytes, and WebAssembly has ${MOST_WASM_BYTES}`;
  if (deviceGiB === null || deviceGiB >= MOST_TOLD_GIB || weights < deviceGiB * 2 ** 30)
    return null;
  return `the weights take ${weights} bytes, and this machine has ${deviceGiB} GiB of memory`;
}
