/**
 * ONNX Runtime's own functions on WebAssembly's memory.
 *
 * `session.run` copies every input into that memory and every output out of it. For a cache of keys and
 * values that is most of what a token costs beside the arithmetic; so on the CPU it stays in there. What is
 * called is what ONNX Runtime Web itself calls (1.30: wasm-core-impl.ts), by the names it has there.
 */
import { LocalphiError } from '../../shared/errors';

/** Types of tensors, in ONNX's numbers. */
export const FLOAT32 = 1;
export const INT64 = 7;
const ON_CPU = 1;
const POINTER_BYTES = 4;

/** The part of the module that is used. Addresses are numbers of bytes. */
export interface OrtWasm {
  readonly PTR_SIZE: number;
  readonly HEAPU8: Uint8Array;
  _malloc(bytes: number): number;
  _free(address: number): void;
  getValue(address: number, type: string): number;
  setValue(address: number, value: number, type: string): void;
  lengthBytesUTF8(text: string): number;
  stringToUTF8(text: string, address: number, bytes: number): void;
  UTF8ToString(address: number): string;
  _OrtCreateTensor(
    type: number,
    data: number,
    bytes: number,
    dims: number,
    rank: number,
    location: number,
  ): number;
  _OrtReleaseTensor(tensor: number): number;
  _OrtGetTensorData(tensor: number, type: number, data: number, dims: number, rank: number): number;
  _OrtFree(address: number): number;
  _OrtGetLastError(code: number, message: number): number;
  _OrtRun(
    session: number,
    inputNames: number,
    inputs: number,
    inputCount: number,
    outputNames: number,
    outputCount: number,
    outputs: number,
    options: number,
  ): number | Promise<number>;
}

const NEEDED = [
  ...['_malloc', '_free', 'getValue', 'setValue', 'lengthBytesUTF8', 'stringToUTF8'],
  ...['UTF8ToString', '_OrtCreateTensor', '_OrtReleaseTensor', '_OrtGetTensorData'],
  ...['_OrtFree', '_OrtGetLastError', '_OrtRun'],
];

/** The module as what it is taken for; null where it is another one. */
export function asOrtWasm(module: unknown): OrtWasm | null {
  if (typeof module !== 'object' || module === null) return null;
  const known = module as Record<string, unknown>;
  const fits =
    known['PTR_SIZE'] === POINTER_BYTES &&
    NEEDED.every((name) => typeof known[name] === 'function');
  return fits ? (module as OrtWasm) : null;
}

/** ONNX Runtime's number of a session; null where this version keeps it elsewhere. */
export function handleOf(session: object): number | null {
  const { handler } = session as { readonly handler?: { readonly sessionId?: unknown } };
  return typeof handler?.sessionId === 'number' ? handler.sessionId : null;
}

/** A tensor that a run made, and what it holds. */
export interface MadeTensor {
  readonly handle: number;
  readonly type: number;
  readonly dims: readonly number[];
  readonly address: number;
}

/** The memory of one session: what is taken is given back with `dispose`. */
export class OrtHeap {
  readonly #wasm: OrtWasm;
  readonly #session: number;
  readonly #inputs: readonly number[];
  readonly #outputs: readonly number[];
  /** Names, and lists of addresses for a run. */
  readonly #fixed: number[] = [];
  readonly #inputNames: number;
  readonly #inputValues: number;
  readonly #outputNames: number;
  readonly #outputValues: number;
  readonly #told: number;

  constructor(
    wasm: OrtWasm,
    session: number,
    inputs: readonly string[],
    outputs: readonly string[],
  ) {
    this.#wasm = wasm;
    this.#session = session;
    this.#inputs = inputs.map((name) => this.#text(name));
    this.#outputs = outputs.map((name) => this.#text(name));
    this.#inputNames = this.#list(this.#inputs);
    this.#inputValues = this.#list(inputs.map(() => 0));
    this.#outputNames = this.#list(this.#outputs);
    this.#outputValues = this.#list(outputs.map(() => 0));
    this.#told = this.#list([0, 0, 0, 0]);
  }

  /** Takes memory; throws a `device` error when there is none. Give it back with `free`. */
  take(bytes: number): number {
    const address = this.#wasm._malloc(Math.max(bytes, 1));
    if (address === 0) {
      throw new LocalphiError('device', `WebAssembly has no memory for ${bytes} bytes more`);
    }
    return address;
  }

  free(address: number): void {
    this.#wasm._free(address);
  }

  /** Numbers at an address; to be read anew after anything that may take memory. */
  floats(address: number, length: number): Float32Array {
    return new Float32Array(this.#wasm.HEAPU8.buffer, address, length);
  }

  integers(address: number, length: number): BigInt64Array {
    return new BigInt64Array(this.#wasm.HEAPU8.buffer, address, length);
  }

  /** A tensor over memory that was taken, which outlives it. */
  tensor(type: number, address: number, bytes: number, dims: readonly number[]): number {
    const list = this.take(POINTER_BYTES * dims.length);
    dims.forEach((dim, i) => {
      this.#wasm.setValue(list + POINTER_BYTES * i, dim, 'i32');
    });
    const { length } = dims;
    const handle = this.#wasm._OrtCreateTensor(type, address, bytes, list, length, ON_CPU);
    this.free(list);
    if (handle === 0) throw this.#failure('a tensor cannot be made');
    return handle;
  }

  release(tensor: number): void {
    this.#wasm._OrtReleaseTensor(tensor);
  }

  /**
   * Runs the graph. inputs: a tensor for each name. outputs: a tensor to write into, or 0 for one that the
   * run makes. Gives the tensors it made, in the order of the names; release them.
   */
  async run(inputs: readonly number[], outputs: readonly number[]): Promise<MadeTensor[]> {
    this.#fill(this.#inputValues, inputs);
    this.#fill(this.#outputValues, outputs);
    const code = await this.#wasm._OrtRun(
      this.#session,
      ...([this.#inputNames, this.#inputValues, inputs.length] as const),
      ...([this.#outputNames, outputs.length, this.#outputValues] as const),
      0,
    );
    if (code !== 0) throw this.#failure('the run failed');
    return outputs.flatMap((given, i) => (given === 0 ? [this.#made(i)] : []));
  }

  /** Gives back what it took by itself. */
  dispose(): void {
    for (const address of this.#fixed.splice(0)) this.free(address);
  }

  #made(index: number): MadeTensor {
    const at = (address: number) => this.#wasm.getValue(address, '*');
    const handle = at(this.#outputValues + POINTER_BYTES * index);
    const [type, data, list, rank] = [0, 1, 2, 3].map((i) => this.#told + POINTER_BYTES * i) as [
      ...[number, number, number, number],
    ];
    if (this.#wasm._OrtGetTensorData(handle, type, data, list, rank) !== 0) {
      throw this.#failure('a result cannot be read');
    }
    const dims = Array.from({ length: at(rank) }, (_, i) => at(at(list) + POINTER_BYTES * i));
    this.#wasm._OrtFree(at(list));
    return { handle, type: at(type), dims, address: at(data) };
  }

  #failure(what: string): LocalphiError {
    this.#wasm._OrtGetLastError(this.#told, this.#told + POINTER_BYTES);
    const message = this.#wasm.getValue(this.#told + POINTER_BYTES, '*');
    const why = message === 0 ? 'no reason was given' : this.#wasm.UTF8ToString(message);
    return new LocalphiError('device', `${what}: ${why}`);
  }

  #text(text: string): number {
    const bytes = this.#wasm.lengthBytesUTF8(text) + 1;
    const address = this.take(bytes);
    this.#fixed.push(address);
    this.#wasm.stringToUTF8(text, address, bytes);
    return address;
  }

  #list(values: readonly number[]): number {
    const address = this.take(POINTER_BYTES * values.length);
    this.#fixed.push(address);
    this.#fill(address, values);
    return address;
  }

  #fill(address: number, values: readonly number[]): void {
    values.forEach((value, i) => {
      this.#wasm.setValue(address + POINTER_BYTES * i, value, '*');
    });
  }
}
