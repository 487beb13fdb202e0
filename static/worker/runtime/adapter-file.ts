/**
 * The file of a LoRA adapter (`.onnx_adapter`), as ONNX Runtime writes it: a FlatBuffer of one table with named
 * tensors (onnxruntime/lora/adapter_format/adapter_schema.fbs).
 */
import { LocalphiError } from '../../shared/errors';

export interface AdapterTensor {
  readonly dims: readonly number[];
  readonly values: Float32Array;
}

/** By the names of the graph's inputs. */
export type AdapterTensors = ReadonlyMap<string, AdapterTensor>;

/** What stands behind the first offset. */
const IDENTIFIER = 'TORT';
const FLOAT32 = 1;

/** Fields of the tables, by their numbers. */
const ADAPTER = { parameters: 3 };
const PARAMETER = { name: 0, dims: 1, type: 2, data: 3 };

/** The tensors, over the file's memory. Throws an `adapter` error for a file that is none. */
export function readAdapter(file: ArrayBuffer): AdapterTensors {
  try {
    return new AdapterReader(file).tensors();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw refusal(`cannot be read: ${error.message}`);
  }
}

/** Offsets that lead out of the file throw a RangeError. */
class AdapterReader {
  readonly #file: ArrayBuffer;
  readonly #view: DataView;

  constructor(file: ArrayBuffer) {
    this.#file = file;
    this.#view = new DataView(file);
  }

  tensors(): AdapterTensors {
    if (this.#text(4, 4) !== IDENTIFIER) throw refusal('does not begin as one');
    const list = this.#field(this.#follow(0), ADAPTER.parameters);
    if (list === null) return new Map();
    const { start, length } = this.#vector(list);
    const tables = Array.from({ length }, (_, i) => this.#follow(start + 4 * i));
    return new Map(tables.map((table) => this.#parameter(table)));
  }

  #parameter(table: number): [string, AdapterTensor] {
    const at = (field: number) => this.#field(table, field) ?? this.#missing(field);
    const named = this.#vector(at(PARAMETER.name));
    const name = this.#text(named.start, named.length);
    const type = this.#view.getInt32(at(PARAMETER.type), true);
    if (type !== FLOAT32) throw refusal(`has ${name} in numbers of type ${type}, not float32`);
    const dims = this.#vector(at(PARAMETER.dims));
    const sizes = Array.from({ length: dims.length }, (_, i) =>
      Number(this.#view.getBigInt64(dims.start + 8 * i, true)),
    );
    const data = this.#vector(at(PARAMETER.data));
    const count = sizes.reduce((product, size) => product * size, 1);
    if (4 * count !== data.length) {
      throw refusal(`has ${data.length} bytes for ${name}, which has ${sizes.join(' x ')} numbers`);
    }
    return [name, { dims: sizes, values: new Float32Array(this.#file, data.start, count) }];
  }

  #missing(field: number): never {
    throw refusal(`lacks field ${field} of a tensor`);
  }

  /** Where a field of a table is; null where the table has not got it. */
  #field(table: number, field: number): number | null {
    const fields = table - this.#view.getInt32(table, true);
    const place = 4 + 2 * field;
    if (place >= this.#view.getUint16(fields, true)) return null;
    const offset = this.#view.getUint16(fields + place, true);
    return offset === 0 ? null : table + offset;
  }

  /** Texts and lists are told by an offset to their length, and what they hold behind it. */
  #vector(at: number): { readonly start: number; readonly length: number } {
    const start = this.#follow(at);
    return { start: start + 4, length: this.#view.getUint32(start, true) };
  }

  #follow(at: number): number {
    return at + this.#view.getUint32(at, true);
  }

  #text(start: number, length: number): string {
    return new TextDecoder().decode(new Uint8Array(this.#file, start, length));
  }
}

function refusal(what: string): LocalphiError {
  return new LocalphiError('adapter', `the file of the adapter ${what}`);
}
