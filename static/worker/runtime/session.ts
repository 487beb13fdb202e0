/** One decoder graph on one device. */
import { LocalphiError, messageOf } from '../../shared/errors';
import type { DecoderConfig } from '../../shared/manifest';
import type { Adaptable, DecoderSession } from './decoder';
import { FileBytes } from './file-bytes';
import { narrowed } from './float16';
import { GpuLogits, HeadFinder } from './gpu-logits';
import { gpuTensor } from './gpu-tensor';
import type { FloatType } from './gpu-tensor';
import { HeapDecoder } from './heap-decoder';
import { writesInPlace } from './in-place';
import { FixedGpuKv, GrowingGpuKv, GrowingKv, pastNames, presentNames } from './kv';
import type { KvCache } from './kv';
import { logitsInMemory } from './logits';
import type { Head, Logits } from './logits';
import { LoraFeeds, loraInputs } from './lora';
import type { TensorPlace } from './lora';
import { hasJspi, loadOrt, ortWasm } from './ort';
import type { InferenceSession, OrtModule, Tensor } from './ort';

/** The files of one variant: blobs by name. */
export type ModelFiles = ReadonlyMap<string, Blob>;

/** A file of weights as ONNX Runtime takes it. */
interface ExternalFile {
  readonly path: string;
  readonly data: Blob | Uint8Array;
}

export interface SessionSource {
  readonly config: DecoderConfig;
  readonly contextLength: number;
  readonly files: ModelFiles;
}

/** The model on the CPU, in WebAssembly. */
export async function openWasmSession(source: SessionSource): Promise<DecoderSession> {
  const ort = await loadOrt();
  const weights = readWeights(source);
  const options = { executionProviders: ['wasm'] };
  const created = await createSession(ort, source, weights, options);
  const { session, inPlace } = created;
  return (
    (inPlace ? await HeapDecoder.over(session, ortWasm(), source) : null) ??
    new OrtDecoder(ort, created, new GrowingKv(ort, source.config), source.config, inMemory(ort))
  );
}

/** The model on a GPU, with the full limits of its adapter. The device lives and dies with it. */
export async function openWebGpuSession(source: SessionSource): Promise<DecoderSession> {
  const ort = await loadOrt();
  const adapter = await requestAdapter();
  if (!adapter) throw new LocalphiError('device', 'there is no GPU adapter any more');
  const gpu = await requestDevice(adapter);
  try {
    const { config, contextLength } = source;
    const outputs = [...presentNames(config), config.names.logits];
    const weights = hasJspi() ? lazyWeights(source) : readWeights(source);
    const created = await createSession(ort, source, weights, {
      executionProviders: [{ name: 'webgpu', device: gpu }],
      preferredOutputLocation: Object.fromEntries(outputs.map((name) => [name, 'gpu-buffer'])),
    });
    const type = floatTypeOf(created.session, pastNames(config)[0]!);
    const kv = created.inPlace
      ? new FixedGpuKv(ort, gpu, config, { type, capacity: contextLength })
      : new GrowingGpuKv(ort, gpu, config, type);
    return new OrtDecoder(ort, created, kv, config, onGpu(ort, gpu, type), gpu);
  } catch (error) {
    gpu.destroy();
    throw error;
  }
}

/** Which numbers the graph computes with, by an input. Throws a `manifest` error for others than floats. */
function floatTypeOf(session: InferenceSession, name: string): FloatType {
  const input = session.inputMetadata.find((each) => each.name === name);
  const type = input?.isTensor ? input.type : undefined;
  if (type === 'float32' || type === 'float16') return type;
  throw new LocalphiError('manifest', `the graph keeps ${name} as ${type}, not as floats`);
}

function inMemory(ort: OrtModule): TensorPlace<Tensor> {
  return {
    make: ({ dims, values }) => new ort.Tensor('float32', values, dims),
    free: (tensor) => {
      tensor.dispose();
    },
  };
}

function onGpu(ort: OrtModule, gpu: GPUDevice, type: FloatType): TensorPlace<Tensor> {
  return {
    make: ({ dims, values }) => {
      const tensor = gpuTensor(ort, gpu, type, dims);
      const numbers = type === 'float16' ? narrowed(values) : values;
      const bytes = new Uint8Array(Math.ceil(numbers.byteLength / 4) * 4); // whole words are written
      bytes.set(new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength));
      gpu.queue.writeBuffer(tensor.gpuBuffer, 0, bytes);
      return tensor;
    },
    free: (tensor) => {
      tensor.dispose();
    },
  };
}

/** The adapter for heavy work, or null where the browser offers none. */
export async function requestAdapter(): Promise<GPUAdapter | null> {
  return navigator.gpu.requestAdapter({ powerPreference: 'high-performance' });
}

/** Adapter limits that weights, caches and kernels run into; the defaults fit phones. */
const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupSizeY',
  'maxComputeWorkgroupSizeZ',
  'maxComputeWorkgroupsPerDimension',
] as const;

/**
 * Smallest subgroup that the prefill kernels are right for.
 * Symptom: with subgroups of 4 (SwiftShader), reading 32 or more tokens at once gives logits that
 * are off by 0.8 of 1.2, without an error; up to 31 tokens, or without the feature, they differ from
 * WASM's by less than 1e-6. Measured with ONNX Runtime Web 1.30.0 on Chromium 156, JSPI build.
 * Can go when a canary longer than 32 tokens passes without it.
 */
const SMALLEST_SUBGROUP = 8;

async function requestDevice(adapter: GPUAdapter): Promise<GPUDevice> {
  return adapter.requestDevice({
    requiredFeatures: wantedFeatures(adapter),
    requiredLimits: Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]])),
  });
}

function wantedFeatures({ features, info }: GPUAdapter): GPUFeatureName[] {
  const wanted: GPUFeatureName[] = ['shader-f16'];
  if (info.subgroupMinSize >= SMALLEST_SUBGROUP) wanted.push('subgroups');
  return wanted.filter((feature) => features.has(feature));
}

/** inPlace: whether the graph writes keys and values where it reads them. */
interface Created {
  readonly session: InferenceSession;
  readonly inPlace: boolean;
}

/** more: inputs that the graph may have besides those of every decoder. */
export async function createSession(
  ort: OrtModule,
  { config, files }: SessionSource,
  externalData: readonly ExternalFile[],
  options: InferenceSession.SessionOptions,
  more: readonly string[] = [],
): Promise<Created> {
  const graph = new Uint8Array(await blobOf(files, config.graphFile).arrayBuffer());
  const session = await ort.InferenceSession.create(graph, {
    ...options,
    logSeverityLevel: ERRORS_ONLY,
    externalData,
  });
  await refuseUnknownInputs(session, config, more);
  return { session, inPlace: writesInPlace(graph) };
}

/** The weights, as a Blob that the JSPI build reads piece by piece. */
function lazyWeights({ files }: SessionSource): ExternalFile[] {
  return weightNames(files).map((name) => ({ path: name, data: blobOf(files, name) }));
}

/** Beyond this offset in a file, the build without JSPI reads other weights, without an error. */
const MOST_BYTES_WITHOUT_JSPI = 2 ** 32;

/**
 * The weights, read tensor by tensor without waiting.
 * Symptom otherwise: with threads and weights in a Blob, about one session in five is never made; the
 * promise stays pending. Seen with ONNX Runtime Web 1.30.0, JSPI build, WASM provider, two threads,
 * Chromium 156, a File of the origin private file system: 10 of 48 loads hung, none of 54 with bytes,
 * nor of 24 with one thread. Like microsoft/onnxruntime#26858.
 */
function readWeights({ files }: SessionSource): ExternalFile[] {
  return weightNames(files).map((name) => {
    const file = blobOf(files, name);
    if (file.size > MOST_BYTES_WITHOUT_JSPI && !hasJspi()) {
      throw new LocalphiError(
        'device',
        `${name} has ${file.size} bytes; without JSPI this browser reads files of up to 4 GiB`,
      );
    }
    return { path: name, data: new FileBytes(file) };
  });
}

/** The weights as bytes, for providers that take them out of the file by themselves. */
export async function wholeWeights({ files }: SessionSource): Promise<ExternalFile[]> {
  const names = weightNames(files);
  return Promise.all(
    names.map(async (path) => {
      const buffer = await blobOf(files, path).arrayBuffer();
      return { path, data: new Uint8Array(buffer) };
    }),
  );
}

/** Everything that is neither a graph nor JSON. */
function weightNames(files: ModelFiles): string[] {
  return [...files.keys()].filter((name) => !/\.(onnx|json)$/.test(name));
}

/** ONNX Runtime's scale of severities: 3 is error. */
const ERRORS_ONLY = 3;

async function refuseUnknownInputs(
  session: InferenceSession,
  config: DecoderConfig,
  more: readonly string[],
): Promise<void> {
  const { inputIds, attentionMask, positionIds } = config.names;
  const adapters = loraInputs(session).map(({ name }) => name);
  const own = [inputIds, attentionMask, positionIds, ...pastNames(config)];
  const known = new Set([...own, ...adapters, ...more]);
  const unknown = session.inputNames.filter((name) => !known.has(name));
  if (unknown.length === 0) return;
  await session.release();
  throw new LocalphiError('manifest', `the graph wants inputs we do not know: ${unknown.join()}`);
}

function blobOf(files: ModelFiles, name: string): Blob {
  const blob = files.get(name);
  if (!blob) throw new LocalphiError('manifest', `the variant does not list ${name}`);
  return blob;
}

const LOSS_DELAY_MS = 50;

/** ONNX Runtime's session and a cache, seen as a decoder. Owns both, and the GPU device if given. */
class OrtDecoder implements DecoderSession {
  /** The mask of graphs that do not write in place is made for ids behind nothing, or for one id. */
  readonly readsFromTheStart: boolean;
  readonly #ort: OrtModule;
  readonly #config: DecoderConfig;
  readonly #kv: KvCache;
  readonly #lora: LoraFeeds<Tensor>;
  readonly #gpu: GPUDevice | null;
  readonly #ids: number[] = [];
  #session: InferenceSession | null;
  /** Of the last run; its buffer must live until they are read. */
  #logits: Tensor | null = null;
  #finder: HeadFinder | null = null;
  #logitsOfAll = false;
  #fault: LocalphiError | null = null;
  #onFault: (fault: LocalphiError) => void = () => {};

  constructor(
    ort: OrtModule,
    { session, inPlace }: Created,
    kv: KvCache,
    config: DecoderConfig,
    place: TensorPlace<Tensor>,
    gpu: GPUDevice | null = null,
  ) {
    this.#ort = ort;
    this.#lora = new LoraFeeds(loraInputs(session), place, () => {
      this.rewind(0);
    });
    this.#session = session;
    this.readsFromTheStart = !inPlace;
    this.#kv = kv;
    this.#config = config;
    this.#gpu = gpu;
    if (gpu) this.#watch(gpu);
  }

  get ids(): readonly number[] {
    return this.#ids;
  }

  get logitsOfAll(): boolean {
    return this.#logitsOfAll && !this.readsFromTheStart;
  }

  get adapters(): Adaptable | null {
    return this.#lora.names.length > 0 ? this.#lora : null;
  }

  async read(ids: readonly number[]): Promise<readonly Logits[]> {
    if (!this.readsFromTheStart || this.#kv.length === 0) return this.#guarded(this.#read(ids));
    let last: readonly Logits[] = [];
    for (const id of ids) last = await this.#guarded(this.#read([id]));
    return last;
  }

  rewind(length: number): void {
    this.#kv.rewind(length);
    this.#ids.length = this.#kv.length;
  }

  async dispose(): Promise<void> {
    const session = this.#session;
    this.#session = null;
    this.#kv.dispose();
    this.#lora.dispose();
    this.#logits?.dispose();
    await session?.release();
    this.#gpu?.destroy();
  }

  /** What the promise gives; a `device` error where it rejects because of the device. */
  async #guarded<T>(promise: Promise<T>): Promise<T> {
    try {
      return await promise;
    } catch (error) {
      if (error instanceof LocalphiError || error instanceof RangeError) throw error;
      throw (await this.#loss()) ?? new LocalphiError('device', messageOf(error), { cause: error });
    }
  }

  async #read(ids: readonly number[]): Promise<readonly Logits[]> {
    const { names } = this.#config;
    const total = this.#kv.length + ids.length;
    const feeds = {
      ...this.#kv.feeds(),
      ...this.#lora.feeds(),
      [names.inputIds]: this.#int64(BigInt64Array.from(ids, BigInt)), // (1, T)
      [names.attentionMask]: this.#int64(new BigInt64Array(total).fill(1n)), // (1, S + T)
      ...this.#positions(ids.length),
    };
    const results = await this.#run(feeds, { ...this.#kv.fetches(), [names.logits]: null });
    this.#kv.accept(results, ids.length);
    this.#ids.push(...ids);
    this.#logits?.dispose();
    this.#logits = results[names.logits] ?? null;
    const rows = this.#rowsOf(results[names.logits]);
    if (ids.length > 1) this.#logitsOfAll = rows.length === ids.length;
    return rows;
  }

  /** Where the ids that are read stand, (1, T), for a graph that asks. */
  #positions(count: number): InferenceSession.FeedsType {
    const name = this.#config.names.positionIds;
    if (!this.#session?.inputNames.includes(name)) return {};
    const places = Array.from({ length: count }, (_, i) => BigInt(this.#kv.length + i));
    return { [name]: this.#int64(BigInt64Array.from(places)) };
  }

  /** The logits of each position of a (1, T, V) tensor. */
  #rowsOf(tensor: Tensor | undefined): readonly Logits[] {
    const [, positions, size] = tensor?.dims ?? [];
    const floats =
      tensor?.type === 'float32' ||
      (tensor?.type === 'float16' && tensor.location === 'gpu-buffer');
    if (!floats || positions === undefined || size === undefined) {
      throw new LocalphiError('device', `wanted logits as floats, but they are ${tensor?.type}`);
    }
    return Array.from({ length: positions }, (_, position) => this.#row(tensor, position, size));
  }

  #row(tensor: Tensor, position: number, size: number): Logits {
    if (tensor.location !== 'gpu-buffer' || !this.#gpu) {
      const start = position * size;
      return logitsInMemory((tensor.data as Float32Array).subarray(start, start + size));
    }
    this.#finder ??= new HeadFinder(this.#gpu, size, tensor.type === 'float16');
    const logits = new GpuLogits(this.#finder, tensor.gpuBuffer, position, size);
    return {
      size,
      all: () => this.#guarded(logits.all()),
      head: (count, temperature) => this.#guarded<Head>(logits.head(count, temperature)),
    };
  }

  /** The run's results; rejects at once when the device is lost meanwhile. */
  #run(feeds: InferenceSession.FeedsType, fetches: InferenceSession.FetchesType) {
    return new Promise<InferenceSession.OnnxValueMapType>((resolve, reject) => {
      if (!this.#session) throw new LocalphiError('device', 'the session is closed');
      if (this.#fault) throw this.#fault;
      this.#onFault = reject;
      this.#session.run(feeds, fetches).then(resolve, reject);
    });
  }

  /** The loss of the GPU, if that is why a run failed; it is told a moment after the run. */
  async #loss(): Promise<LocalphiError | null> {
    if (this.#gpu) await new Promise((resolve) => setTimeout(resolve, LOSS_DELAY_MS));
    return this.#fault;
  }

  #int64(values: BigInt64Array): Tensor {
    return new this.#ort.Tensor('int64', values, [1, values.length]);
  }

  /** ONNX Runtime does not report GPU validation errors; results after one are not to be trusted. */
  #watch(gpu: GPUDevice): void {
    const fail = (message: string) => {
      if (!this.#session) return;
      this.#fault = new LocalphiError('device', message);
      this.#onFault(this.#fault);
    };
    gpu.addEventListener('uncapturederror', ({ error }) => {
      fail(`the GPU reported an error: ${error.message}`);
    });
    void gpu.lost.then(({ message }) => {
      fail(`the GPU device was lost: ${message}`);
    });
  }
}
