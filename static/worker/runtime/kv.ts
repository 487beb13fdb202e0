/**
 * Where the keys and values of the tokens read so far live.
 *
 * A cache gives the tensors of a run, takes back the results, and knows its length in tokens.
 * It frees the tensors it holds; nobody else does.
 */
import type { DecoderConfig } from '../../shared/manifest';
import { TYPE_BYTES, gpuTensor } from './gpu-tensor';
import type { FloatType } from './gpu-tensor';
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

/** A cache that grows with every run: what came out goes in again. Tensors have the shape (1, H, S, D). */
abstract class Growing implements KvCache {
  #length = 0;
  #past: Record<string, Tensor> = {};
  readonly #slots: readonly Slot[];

  constructor(config: DecoderConfig) {
    this.#slots = slotsOf(config);
  }

  get length(): number {
    return this.#length;
  }

  feeds(): Record<string, Tensor> {
    if (this.#length === 0) this.#past = this.#allEmpty();
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
    const kept = length > 0 ? this.cut(this.#past, this.#length, length) : {};
    this.#free();
    this.#past = kept;
    this.#length = length;
  }

  dispose(): void {
    this.#free();
    this.#past = {};
    this.#length = 0;
  }

  /** A tensor of no tokens. */
  protected abstract empty(): Tensor;

  /** Copies of the first `length` of `held` tokens of all tensors. */
  protected abstract cut(
    past: Readonly<Record<string, Tensor>>,
    held: number,
    length: number,
  ): Record<string, Tensor>;

  #allEmpty(): Record<string, Tensor> {
    return Object.fromEntries(this.#slots.map(({ past }) => [past, this.empty()]));
  }

  #free(): void {
    for (const tensor of Object.values(this.#past)) tensor.dispose();
  }
}

/** Growing in JavaScript's memory: for WASM, where it cannot stay inside. */
export class GrowingKv extends Growing {
  readonly #ort: OrtModule;
  readonly #config: DecoderConfig;

  constructor(ort: OrtModule, config: DecoderConfig) {
    super(config);
    this.#ort = ort;
    this.#config = config;
  }

  protected empty(): Tensor {
    const { kvHeads, headSize } = this.#config;
    return new this.#ort.Tensor('float32', new Float32Array(0), [1, kvHeads, 0, headSize]);
  }

  protected cut(past: Readonly<Record<string, Tensor>>, held: number, length: number) {
    return mapValues(past, (tensor) => this.#cut(tensor, held, length));
  }

  #cut(tensor: Tensor, held: number, length: number): Tensor {
    const { kvHeads, headSize } = this.#config;
    const whole = tensor.data as Float32Array;
    const kept = new Float32Array(kvHeads * length * headSize);
    for (let head = 0; head < kvHeads; head++) {
      const start = head * held * headSize;
      kept.set(whole.subarray(start, start + length * headSize), head * length * headSize);
    }
    return new this.#ort.Tensor('float32', kept, [1, kvHeads, length, headSize]);
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
    { type, capacity }: { readonly type: FloatType; readonly capacity: number },
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
 * Growing on the GPU, for graphs that cannot write in place: exports with MultiHeadAttention, such as
 * Phi-3-mini's for the web. Nothing of it leaves the GPU.
 */
export class GrowingGpuKv extends Growing {
  readonly #ort: OrtModule;
  readonly #gpu: GPUDevice;
  readonly #config: DecoderConfig;
  readonly #type: FloatType;

  constructor(ort: OrtModule, gpu: GPUDevice, config: DecoderConfig, type: FloatType) {
    super(config);
    this.#ort = ort;
    this.#gpu = gpu;
    this.#config = config;
    this.#type = type;
  }

  protected empty(): Tensor {
    const { kvHeads, headSize } = this.#config;
    const numbers = this.#type === 'float16' ? new Uint16Array(0) : new Float32Array(0);
    return new this.#ort.Tensor(this.#type, numbers, [1, kvHeads, 0, headSize]);
  }

  /** Made in the order of the GPU's queue. */
  protected cut(past: Readonly<Record<string, Tensor>>, held: number, length: number) {
    const { kvHeads, headSize } = this.#config;
    const row = TYPE_BYTES[this.#type] * headSize; // of one token in one head
    const encoder = this.#gpu.createCommandEncoder();
    const kept = mapValues(past, (tensor) => {
      const cut = gpuTensor(this.#ort, this.#gpu, this.#type, [1, kvHeads, length, headSize]);
      for (let head = 0; head < kvHeads; head++) {
        const [from, to] = [head * held * row, head * length * row];
        encoder.copyBufferToBuffer(tensor.gpuBuffer, from, cut.gpuBuffer, to, length * row);
      }
      return cut;
    });
    this.#gpu.queue.submit([encoder.finish()]);
    return kept;
  }
}

function mapValues(
  tensors: Readonly<Record<string, Tensor>>,
  change: (tensor: Tensor) => Tensor,
): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, tensor]) => [name, change(tensor)]),
  );
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
