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

/** The numbers of a cache on a GPU. */
export type KvType = 'float32' | 'float16';

const TYPE_BYTES: Readonly<Record<KvType, number>> = { float32: 4, float16: 2 };

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
    { type, capacity }: { readonly type: KvType; readonly capacity: number },
  ) {
    this.#slots = slotsOf(config);
    const dims = [1, config.kvHeads, capacity, config.headSize]; // (1, H, S, D)
    this.#tensors = this.#slots.map(() => gpuTensor(ort, gpu, type, dims));
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

/**
 * A cache on the GPU that grows with every run, for graphs that cannot write in place: exports with
 * MultiHeadAttention, such as Phi-3-mini's for the web. What came out goes in again and never leaves the GPU.
 */
export class GrowingGpuKv implements KvCache {
  #length = 0;
  #past: Record<string, Tensor>;
  readonly #ort: OrtModule;
  readonly #gpu: GPUDevice;
  readonly #config: DecoderConfig;
  readonly #type: KvType;
  readonly #slots: readonly Slot[];

  constructor(ort: OrtModule, gpu: GPUDevice, config: DecoderConfig, type: KvType) {
    this.#ort = ort;
    this.#gpu = gpu;
    this.#config = config;
    this.#type = type;
    this.#slots = slotsOf(config);
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
    const kept = length > 0 ? this.#cutAll(length) : this.#allEmpty();
    this.#free();
    this.#past = kept;
    this.#length = length;
  }

  dispose(): void {
    this.#free();
    this.#past = {};
    this.#length = 0;
  }

  /** Copies of the first `length` tokens of all tensors, made on the GPU in the order of its queue. */
  #cutAll(length: number): Record<string, Tensor> {
    const { kvHeads, headSize } = this.#config;
    const row = TYPE_BYTES[this.#type] * headSize; // of one token in one head
    const encoder = this.#gpu.createCommandEncoder();
    const kept = Object.entries(this.#past).map(([name, tensor]) => {
      const cut = gpuTensor(this.#ort, this.#gpu, this.#type, [1, kvHeads, length, headSize]);
      for (let head = 0; head < kvHeads; head++) {
        const from = head * this.#length * row;
        const to = head * length * row;
        encoder.copyBufferToBuffer(tensor.gpuBuffer, from, cut.gpuBuffer, to, length * row);
      }
      return [name, cut];
    });
    this.#gpu.queue.submit([encoder.finish()]);
    return Object.fromEntries(kept) as Record<string, Tensor>;
  }

  #allEmpty(): Record<string, Tensor> {
    const { kvHeads, headSize } = this.#config;
    const numbers = this.#type === 'float16' ? new Uint16Array(0) : new Float32Array(0);
    const dims = [1, kvHeads, 0, headSize];
    return Object.fromEntries(
      this.#slots.map(({ past }) => [past, new this.#ort.Tensor(this.#type, numbers, dims)]),
    );
  }

  #free(): void {
    for (const tensor of Object.values(this.#past)) tensor.dispose();
  }
}

/** A tensor of our own on the GPU; disposing of it frees the buffer. */
function gpuTensor(ort: OrtModule, gpu: GPUDevice, type: KvType, dims: readonly number[]): Tensor {
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const buffer = gpu.createBuffer({ size: bytesOf(type, dims), usage });
  const dispose = () => {
    buffer.destroy();
  };
  return ort.Tensor.fromGpuBuffer(buffer, { dataType: type, dims, dispose });
}

/** Bytes of the buffer of a tensor; ONNX Runtime binds it in steps of 16. */
function bytesOf(type: KvType, dims: readonly number[]): number {
  const bytes = dims.reduce((product, size) => product * size, TYPE_BYTES[type]);
  return Math.ceil(bytes / 16) * 16;
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
