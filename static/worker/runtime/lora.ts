/**
 * LoRA adapters on a device: A and B of each layer of a graph that adds B (A x) to what the layer gives.
 * ONNX Runtime Web cannot leave such inputs out, so without an adapter, or for layers that one leaves as they
 * are, they are zeros of rank 1, and x + 0 is x.
 */
import { LocalphiError } from '../../shared/errors';
import type { AdapterTensor, AdapterTensors } from './adapter-file';
import type { Adaptable, WornAdapter } from './decoder';
import type { InferenceSession } from './ort';

/** Adapters that stay on the device beside the one in use. */
const MOST_HELD = 3;
const INPUT = /\.lora_[AB]\.weight$/;

/** An input of the graph. Its dims are numbers but for the rank, which has a name that A and B share. */
interface LoraInput {
  readonly name: string;
  readonly dims: readonly (number | string)[];
}

/** Tensors in the memory of one device. */
export interface TensorPlace<T> {
  make(tensor: AdapterTensor): T;
  free(tensor: T): void;
}

/** What a graph wants for adapters; empty for one that takes none. */
export function loraInputs({ inputMetadata }: InferenceSession): readonly LoraInput[] {
  return inputMetadata.flatMap(({ name, ...input }) => {
    if (!INPUT.test(name) || !input.isTensor) return [];
    return [{ name, dims: input.shape }];
  });
}

/** Owns the tensors that it feeds. */
export class LoraFeeds<T> implements Adaptable {
  readonly #inputs: readonly LoraInput[];
  readonly #place: TensorPlace<T>;
  readonly #onChange: () => void;
  /** By the dims of an input. */
  readonly #zeros = new Map<string, T>();
  /** By the keys of adapters, the one used last at the end. */
  readonly #held = new Map<string, ReadonlyMap<string, T>>();
  #worn: string | null = null;

  /** onChange: told when another adapter, or none, counts from now on. */
  constructor(inputs: readonly LoraInput[], place: TensorPlace<T>, onChange: () => void) {
    this.#inputs = inputs;
    this.#place = place;
    this.#onChange = onChange;
  }

  get names(): readonly string[] {
    return this.#inputs.map(({ name }) => name);
  }

  /** In the order of the names. */
  get tensors(): readonly T[] {
    const own = this.#worn === null ? undefined : this.#held.get(this.#worn);
    return this.#inputs.map((input) => own?.get(input.name) ?? this.#zero(input));
  }

  /** By the names. */
  feeds(): Record<string, T> {
    const { tensors } = this;
    return Object.fromEntries(this.names.map((name, i) => [name, tensors[i]!]));
  }

  async wear(adapter: WornAdapter | null): Promise<void> {
    const key = adapter?.key ?? null;
    if (adapter && !this.#held.has(adapter.key)) this.#hold(adapter.key, await adapter.load());
    if (key === this.#worn) return;
    this.#worn = key;
    this.#onChange();
    if (key === null) return;
    const tensors = this.#held.get(key)!;
    this.#held.delete(key);
    this.#held.set(key, tensors);
    for (const [oldest] of [...this.#held].slice(0, -MOST_HELD - 1)) this.#drop(oldest);
  }

  /** May be called twice. */
  dispose(): void {
    this.#worn = null;
    for (const key of [...this.#held.keys()]) this.#drop(key);
    for (const tensor of this.#zeros.values()) this.#place.free(tensor);
    this.#zeros.clear();
  }

  /** Throws an `adapter` error for one of another graph, and the place's own when there is no room. */
  #hold(key: string, tensors: AdapterTensors): void {
    for (const name of tensors.keys()) {
      if (this.#inputs.some((input) => input.name === name)) continue;
      throw new LocalphiError('adapter', `the adapter changes ${name}, which the model has not`);
    }
    checkShapes(this.#inputs, tensors);
    const held = new Map<string, T>();
    try {
      for (const [name, tensor] of tensors) held.set(name, this.#place.make(tensor));
    } catch (error) {
      for (const tensor of held.values()) this.#place.free(tensor);
      throw error;
    }
    this.#held.set(key, held);
  }

  #drop(key: string): void {
    for (const tensor of this.#held.get(key)?.values() ?? []) this.#place.free(tensor);
    this.#held.delete(key);
  }

  #zero(input: LoraInput): T {
    const dims = dimsOfZeros(input);
    const known = this.#zeros.get(dims.join());
    if (known !== undefined) return known;
    const values = new Float32Array(dims.reduce((product, dim) => product * dim, 1));
    const zero = this.#place.make({ dims, values });
    this.#zeros.set(dims.join(), zero);
    return zero;
  }
}

function dimsOfZeros({ dims }: LoraInput): readonly number[] {
  return dims.map((dim) => (typeof dim === 'number' ? dim : 1));
}

/** Throws an `adapter` error where an input has another shape, or A another rank than its B. */
function checkShapes(inputs: readonly LoraInput[], tensors: AdapterTensors): void {
  const ranks = new Map<string, number>();
  for (const input of inputs) {
    const dims = tensors.get(input.name)?.dims ?? dimsOfZeros(input);
    const fits = input.dims.every((wanted, i) => {
      if (typeof wanted === 'number') return dims[i] === wanted;
      if (!ranks.has(wanted)) ranks.set(wanted, dims[i] ?? 0);
      return dims[i] === ranks.get(wanted);
    });
    if (fits && dims.length === input.dims.length) continue;
    const wanted = input.dims.map((dim) => ranks.get(String(dim)) ?? dim).join(' x ');
    throw new LocalphiError(
      'adapter',
      `the adapter is for another model: ${input.name} is ${dims.join(' x ')}, and not ${wanted}`,
    );
  }
}
