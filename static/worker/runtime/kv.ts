/**
 * Where the keys and values of the tokens read so far live.
 *
 * A cache gives the tensors of a run, takes back the results, and knows its length in tokens.
 * It frees the tensors it holds; nobody else does.
 */
import type { DecoderConfig } from '../../shared/manifest';
import type { InferenceSession, OrtModule, Tensor } from './ort';

export interface KvCache {
  /** Tokens whose keys and values are held. */
  readonly length: number;
  /** Inputs of the next run. */
  feeds(): Record<string, Tensor>;
  /** Outputs of the next run: a tensor to write into, or null to let the run allocate. */
  fetches(): Record<string, Tensor | null>;
  /** Takes over the outputs of a run that read `added` tokens. */
  accept(results: InferenceSession.OnnxValueMapType, added: number): void;
  /** Forgets all but the first `length` tokens. */
  rewind(length: number): void;
  /** Frees all tensors. May be called twice. */
  dispose(): void;
}

interface Slot {
  readonly past: string;
  readonly present: string;
}

/**
 * A cache that grows with every run: what came out goes in again. For WASM, where it cannot stay inside.
 * Tensors have the shape (1, H, S, D).
 */
export class GrowingKv implements KvCache {
  #length = 0;
  #past: Record<string, Tensor>;
  readonly #ort: OrtModule;
  readonly #slots: readonly Slot[];
  readonly #empty: () => Tensor;

  constructor(ort: OrtModule, config: DecoderConfig) {
    this.#ort = ort;
    this.#slots = slotsOf(config);
    this.#empty = () =>
      new ort.Tensor('float32', new Float32Array(0), [1, config.kvHeads, 0, config.headSize]);
    this.#past = this.#allEmpty();
  }

  get length(): number {
    return this.#length;
  }

  feeds(): Record<string, Tensor> {
    return this.#past;
  }

  fetches(): Record<string, null> {
    return Object.fromEntries(this.#slots.map(({ present }) => [present, null]));
  }

  accept(results: InferenceSession.OnnxValueMapType, added: number): void {
    this.#free();
    this.#past = Object.fromEntries(
      this.#slots.map(({ past, present }) => [past, results[present]!]),
    );
    this.#length += added;
  }

  rewind(length: number): void {
    if (length >= this.#length) return;
    const kept = Object.entries(this.#past).map(([name, tensor]) => [
      name,
      this.#cut(tensor, length),
    ]);
    this.#free();
    this.#past = Object.fromEntries(kept) as Record<string, Tensor>;
    this.#length = length;
  }

  dispose(): void {
    this.#free();
    this.#past = {};
    this.#length = 0;
  }

  /** A copy of the first `length` tokens of a (1, H, S, D) tensor. */
  #cut(tensor: Tensor, length: number): Tensor {
    const [, heads = 0, , size = 0] = tensor.dims;
    const whole = tensor.data as Float32Array;
    const stride = whole.length / heads;
    const kept = new Float32Array(heads * length * size);
    for (let head = 0; head < heads; head++) {
      const start = head * stride;
      kept.set(whole.subarray(start, start + length * size), head * length * size);
    }
    return new this.#ort.Tensor('float32', kept, [1, heads, length, size]);
  }

  #allEmpty(): Record<string, Tensor> {
    return Object.fromEntries(this.#slots.map(({ past }) => [past, this.#empty()]));
  }

  #free(): void {
    for (const tensor of Object.values(this.#past)) tensor.dispose();
  }
}

/**
 * A cache of fixed size on the GPU; a run writes into the tensors it reads.
 * Growing caches defeat ONNX Runtime's buffer reuse and slow down with every token, and only a
 * shared buffer takes the fast path of GroupQueryAttention. Rewinding is setting the length.
 */
export class FixedGpuKv implements KvCache {
  #length = 0;
  readonly #slots: readonly Slot[];
  readonly #tensors: Tensor[];

  /** capacity: most tokens to hold. A device short of memory reports it later, as a GPU error. */
  constructor(
    ort: OrtModule,
    gpu: GPUDevice,
    config: DecoderConfig,
    capacity: number,
    type: GpuType,
  ) {
    this.#slots = slotsOf(config);
    const dims = [1, config.kvHeads, capacity, config.headSize]; // (1, H, S, D)
    this.#tensors = this.#slots.map(() => gpuTensor(ort, gpu, dims, type));
  }

  get length(): number {
    return this.#length;
  }

  feeds(): Record<string, Tensor> {
    return Object.fromEntries(this.#slots.map(({ past }, i) => [past, this.#tensors[i]!]));
  }

  fetches(): Record<string, Tensor> {
    return Object.fromEntries(this.#slots.map(({ present }, i) => [present, this.#tensors[i]!]));
  }

  accept(_results: InferenceSession.OnnxValueMapType, added: number): void {
    this.#length += added;
  }

  rewind(length: number): void {
    this.#length = Math.min(length, this.#length);
  }

  dispose(): void {
    for (const tensor of this.#tensors.splice(0)) tensor.dispose();
    this.#length = 0;
  }
}

/** What keys, values and logits are on a GPU. */
export type GpuType = 'float32' | 'float16';

/** A tensor of our own on the GPU; disposing of it frees the buffer. */
function gpuTensor(
  ort: OrtModule,
  gpu: GPUDevice,
  dims: readonly number[],
  dataType: GpuType,
): Tensor {
  const bytes = dims.reduce((product, dim) => product * dim, dataType === 'float16' ? 2 : 4);
  const size = Math.ceil(bytes / 4) * 4; // as buffers want it
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const buffer = gpu.createBuffer({ size, usage });
  const dispose = () => {
    buffer.destroy();
  };
  return ort.Tensor.fromGpuBuffer(buffer, { dataType, dims, dispose });
}

/** Tensor names of every layer, in layer order, from patterns with `%d`. */
export function perLayer(layers: number, patterns: readonly string[]): readonly string[] {
  return Array.from({ length: layers }, (_, layer) =>
    patterns.map((pattern) => pattern.replace('%d', String(layer))),
  ).flat();
}

export function pastNames({ layers, names }: DecoderConfig): readonly string[] {
  return perLayer(layers, [names.pastKey, names.pastValue]);
}

export function presentNames({ layers, names }: DecoderConfig): readonly string[] {
  return perLayer(layers, [names.presentKey, names.presentValue]);
}

function slotsOf(config: DecoderConfig): readonly Slot[] {
  const presents = presentNames(config);
  return pastNames(config).map((past, i) => ({ past, present: presents[i]! }));
}
