/**
 * A decoder whose keys and values stay in WebAssembly's memory.
 *
 * Each is one tensor of fixed length that a run reads and writes in place, as GroupQueryAttention allows, so
 * a token moves its own keys and values and no others. When they are full they move to others of twice the
 * length. Rewinding is setting a number.
 */
import { LocalphiError } from '../../shared/errors';
import type { DecoderConfig } from '../../shared/manifest';
import { presentNames, pastNames } from './kv';
import { logitsInMemory } from './logits';
import type { Logits } from './logits';
import { LoraFeeds, loraInputs } from './lora';
import type { InferenceSession } from './ort';
import { FLOAT32, INT64, OrtHeap, handleOf } from './ort-heap';
import type { MadeTensor, OrtWasm } from './ort-heap';
import type { AdapterTensor } from './adapter-file';
import type { Adaptable, DecoderSession } from './decoder';

const FLOAT_BYTES = 4;
const INT_BYTES = 8;
const FIRST_CAPACITY = 512;

/** A tensor over memory that was taken: of one layer's keys or values, (1, H, C, D), or of an adapter. */
interface Slot {
  readonly address: number;
  readonly tensor: number;
}

export class HeapDecoder implements DecoderSession {
  readonly #heap: OrtHeap;
  readonly #config: DecoderConfig;
  readonly #contextLength: number;
  readonly #lora: LoraFeeds<Slot>;
  readonly #ids: number[] = [];
  #session: InferenceSession | null;
  #slots: Slot[] = [];
  /** Ones, as many as the slots hold tokens. */
  #mask = 0;
  #capacity = 0;
  #logits: MadeTensor | null = null;
  #logitsOfAll = false;

  private constructor(session: InferenceSession, heap: OrtHeap, source: Source) {
    this.#session = session;
    this.#heap = heap;
    this.#config = source.config;
    this.#contextLength = source.contextLength;
    const place = {
      make: ({ dims, values }: AdapterTensor) => this.#slot(values, dims),
      free: (slot: Slot) => {
        this.#drop(slot);
      },
    };
    this.#lora = new LoraFeeds(loraInputs(session), place, () => {
      this.rewind(0);
    });
  }

  /** Tries a token. Null where this build or this graph cannot be used so; the session is then as it was. */
  static async over(
    session: InferenceSession,
    wasm: OrtWasm | null,
    source: Source,
  ): Promise<HeapDecoder | null> {
    const handle = handleOf(session);
    if (wasm === null || handle === null) return null;
    const { config } = source;
    const { inputIds, attentionMask } = config.names;
    const lora = loraInputs(session).map(({ name }) => name);
    const inputs = [...pastNames(config), ...lora, inputIds, attentionMask];
    const outputs = [...presentNames(config), config.names.logits];
    const decoder = new HeapDecoder(session, new OrtHeap(wasm, handle, inputs, outputs), source);
    try {
      await decoder.read([0]);
      decoder.rewind(0);
      return decoder;
    } catch (error) {
      decoder.#free();
      console.warn('localphi: the cache goes through session.run, which is slower:', error);
      return null;
    }
  }

  get ids(): readonly number[] {
    return this.#ids;
  }

  get logitsOfAll(): boolean {
    return this.#logitsOfAll;
  }

  get adapters(): Adaptable | null {
    return this.#lora.names.length > 0 ? this.#lora : null;
  }

  async read(ids: readonly number[]): Promise<readonly Logits[]> {
    if (!this.#session) throw new LocalphiError('device', 'the session is closed');
    const total = this.#ids.length + ids.length;
    if (total > this.#capacity) this.#grow(total);
    this.#dropLogits();
    const given = this.#heap.take(INT_BYTES * ids.length);
    const made: number[] = [];
    try {
      this.#heap.integers(given, ids.length).set(ids.map(BigInt));
      made.push(this.#int64(given, ids.length), this.#int64(this.#mask, total)); // (1, T), (1, S + T)
      const tensors = this.#slots.map(({ tensor }) => tensor);
      const inputs = [...tensors, ...this.#lora.tensors.map(({ tensor }) => tensor), ...made];
      [this.#logits = null] = await this.#heap.run(inputs, [...tensors, 0]);
    } finally {
      for (const tensor of made) this.#heap.release(tensor);
      this.#heap.free(given);
    }
    this.#ids.push(...ids);
    const rows = this.#rows();
    if (ids.length > 1) this.#logitsOfAll = rows.length === ids.length;
    return rows;
  }

  rewind(length: number): void {
    this.#ids.length = Math.min(length, this.#ids.length);
  }

  async dispose(): Promise<void> {
    const session = this.#session;
    if (!session) return;
    this.#session = null;
    this.#free();
    await session.release();
  }

  /** The logits of each position of (1, T, V), where they lie; good until the next run. */
  #rows(): readonly Logits[] {
    const { type, dims, address } = this.#logits ?? {};
    const [, positions, size] = dims ?? [];
    if (type !== FLOAT32 || !address || positions === undefined || size === undefined) {
      throw new LocalphiError('device', `wanted float32 logits, but they are of type ${type}`);
    }
    return Array.from({ length: positions }, (_, position) =>
      logitsInMemory(this.#heap.floats(address + FLOAT_BYTES * position * size, size)),
    );
  }

  #int64(address: number, length: number): number {
    return this.#heap.tensor(INT64, address, INT_BYTES * length, [1, length]);
  }

  /** Moves keys and values to where there is room for so many tokens; where there is not, all stays. */
  #grow(tokens: number): void {
    const wanted = Math.max(tokens, 2 * this.#capacity, FIRST_CAPACITY);
    const capacity = Math.max(tokens, Math.min(wanted, this.#contextLength));
    const { kvHeads, headSize, layers } = this.#config;
    const dims = [1, kvHeads, capacity, headSize];
    const bytes = FLOAT_BYTES * kvHeads * capacity * headSize;
    const sizes = [...Array.from({ length: 2 * layers }, () => bytes), INT_BYTES * capacity];
    const addresses = this.#takeAll(sizes);
    const mask = addresses.pop()!;
    this.#heap.integers(mask, capacity).fill(1n);
    const grown = addresses.map((address) => ({
      address,
      tensor: this.#heap.tensor(FLOAT32, address, bytes, dims),
    }));
    this.#slots.forEach((old, slot) => {
      this.#move(old.address, grown[slot]!.address, capacity);
      this.#drop(old);
    });
    if (this.#mask !== 0) this.#heap.free(this.#mask);
    this.#slots = grown;
    this.#mask = mask;
    this.#capacity = capacity;
  }

  #takeAll(sizes: readonly number[]): number[] {
    const taken: number[] = [];
    try {
      for (const bytes of sizes) taken.push(this.#heap.take(bytes));
      return taken;
    } catch (error) {
      for (const address of taken) this.#heap.free(address);
      throw error;
    }
  }

  #move(from: number, to: number, capacity: number): void {
    const { kvHeads, headSize } = this.#config;
    const length = this.#ids.length * headSize;
    for (let head = 0; head < kvHeads; head++) {
      const source = from + FLOAT_BYTES * head * this.#capacity * headSize;
      const target = to + FLOAT_BYTES * head * capacity * headSize;
      this.#heap.floats(target, length).set(this.#heap.floats(source, length));
    }
  }

  #slot(values: Float32Array, dims: readonly number[]): Slot {
    const bytes = FLOAT_BYTES * values.length;
    const address = this.#heap.take(bytes);
    this.#heap.floats(address, values.length).set(values);
    return { address, tensor: this.#heap.tensor(FLOAT32, address, bytes, dims) };
  }

  #drop({ tensor, address }: Slot): void {
    this.#heap.release(tensor);
    this.#heap.free(address);
  }

  #dropLogits(): void {
    if (this.#logits) this.#heap.release(this.#logits.handle);
    this.#logits = null;
  }

  #free(): void {
    this.#dropLogits();
    this.#lora.dispose();
    for (const slot of this.#slots.splice(0)) this.#drop(slot);
    if (this.#mask !== 0) this.#heap.free(this.#mask);
    this.#mask = 0;
    this.#heap.dispose();
  }
}

interface Source {
  readonly config: DecoderConfig;
  readonly contextLength: number;
}
