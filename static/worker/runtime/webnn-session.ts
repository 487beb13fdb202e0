/**
 * The model on WebNN, whose graphs have fixed shapes: one reads a token at a time, another a prompt, padded at
 * its end. Both share a context, and keys and values are tensors in it, as long as the context of the model.
 *
 * A prompt is read from its start: GroupQueryAttention on WebNN writes several tokens only at the beginning.
 * What is longer than a few tokens and no longer than a graph is read so, the rest token by token.
 */
import { LocalphiError, messageOf } from '../../shared/errors';
import type { DecoderConfig } from '../../shared/manifest';
import { withoutEvaluation } from './embind-callers';
import { pastNames, presentNames } from './kv';
import { logitsInMemory } from './logits';
import type { Logits } from './logits';
import { loadOrt } from './ort';
import type { InferenceSession, OrtModule, Tensor } from './ort';
import { createSession, wholeWeights } from './session';
import type { DecoderSession } from './decoder';
import type { SessionSource } from './session';

/** Tokens of the graphs that read prompts; each is made when it is first needed, and the last one kept. */
const PROMPT_TOKENS = [128, 512];
/** As many tokens are sooner read one by one than with all before them. */
const FEW_TOKENS = 8;
/** The graph's input that tells which position the logits are of; see toolchain/graphs/webnn.py. */
const LAST_POSITION = 'last_position';

const DEVICE_TYPES = ['gpu', 'npu', 'cpu'] as const;

type DeviceType = (typeof DEVICE_TYPES)[number];

/** As far as it is needed here; TypeScript has no types of it. */
interface MlContext {
  destroy?(): void;
}

interface Ml {
  createContext(options: { deviceType: DeviceType }): Promise<MlContext>;
}

/** WebNN's door, null where the browser has none. */
export function webNn(): Ml | null {
  return (navigator as { readonly ml?: Ml }).ml ?? null;
}

export async function openWebNnSession(source: SessionSource): Promise<DecoderSession> {
  const ort = await loadOrt();
  withoutEvaluation(globalThis);
  const { context, deviceType } = await openContext();
  const externalData = await wholeWeights(source);
  const { config, contextLength } = source;
  const make = async (tokens: number, total: number) => {
    const { session } = await createSession(
      ort,
      source,
      externalData,
      {
        executionProviders: [{ name: 'webnn', deviceType, context: context }],
        freeDimensionOverrides: {
          ...{ batch_size: 1, sequence_length: tokens, kv_cache_dim: config.headSize },
          ...{ past_sequence_length: contextLength, total_sequence_length: total },
        },
        preferredOutputLocation: Object.fromEntries(
          presentNames(config).map((name) => [name, 'ml-tensor']),
        ),
      },
      [LAST_POSITION],
    );
    return session;
  };
  try {
    return new WebNnDecoder(ort, context, source, await make(1, contextLength), (tokens) =>
      make(tokens, tokens),
    );
  } catch (error) {
    context.destroy?.();
    throw error;
  }
}

/** On the graphics card if it can be; the browser may compute elsewhere all the same. */
async function openContext(): Promise<{ context: MlContext; deviceType: DeviceType }> {
  const reasons: string[] = [];
  for (const deviceType of DEVICE_TYPES) {
    try {
      const context = await webNn()?.createContext({ deviceType });
      if (context) return { context, deviceType };
    } catch (error) {
      reasons.push(messageOf(error));
    }
  }
  throw new LocalphiError('device', reasons.at(-1) ?? 'this browser has no WebNN');
}

class WebNnDecoder implements DecoderSession {
  readonly logitsOfAll = false;
  readonly #ort: OrtModule;
  readonly #context: MlContext;
  readonly #config: DecoderConfig;
  readonly #contextLength: number;
  readonly #makePromptReader: (tokens: number) => Promise<InferenceSession>;
  readonly #ids: number[] = [];
  #tokenReader: InferenceSession | null;
  #promptReader: { readonly tokens: number; readonly session: InferenceSession } | null = null;
  /** Keys and values, by their names as inputs; null before anything was read. */
  #past: Record<string, Tensor> | null = null;

  constructor(
    ort: OrtModule,
    context: MlContext,
    { config, contextLength }: SessionSource,
    tokenReader: InferenceSession,
    makePromptReader: (tokens: number) => Promise<InferenceSession>,
  ) {
    this.#ort = ort;
    this.#context = context;
    this.#config = config;
    this.#contextLength = contextLength;
    this.#tokenReader = tokenReader;
    this.#makePromptReader = makePromptReader;
  }

  get ids(): readonly number[] {
    return this.#ids;
  }

  async read(ids: readonly number[]): Promise<readonly Logits[]> {
    if (!this.#tokenReader) throw new LocalphiError('device', 'the session is closed');
    try {
      return [await this.#read(this.#tokenReader, ids)];
    } catch (error) {
      if (error instanceof LocalphiError) throw error;
      throw new LocalphiError('device', messageOf(error), { cause: error });
    }
  }

  /** What lies behind is written over before it is attended to. */
  rewind(length: number): void {
    this.#ids.length = Math.min(length, this.#ids.length);
  }

  async dispose(): Promise<void> {
    const sessions = [this.#tokenReader, this.#promptReader?.session];
    this.#tokenReader = null;
    this.#promptReader = null;
    this.#keep(null);
    for (const session of sessions) await session?.release();
    if (sessions[0]) this.#context.destroy?.();
  }

  async #read(tokenReader: InferenceSession, ids: readonly number[]): Promise<Logits> {
    const total = this.#ids.length + ids.length;
    const tokens = this.#promptTokens(tokenReader, ids.length, total);
    if (tokens !== null) return this.#readPrompt(tokens, [...this.#ids, ...ids]);
    let logits: Logits | null = null;
    for (const id of ids) logits = await this.#readToken(tokenReader, id);
    return logits!;
  }

  /** Of the graph for so many new tokens, null for none. */
  #promptTokens({ inputNames }: InferenceSession, added: number, total: number): number | null {
    if (added <= FEW_TOKENS || !inputNames.includes(LAST_POSITION)) return null;
    const shorter = PROMPT_TOKENS.filter((tokens) => tokens < this.#contextLength);
    return [...shorter, this.#contextLength].find((tokens) => tokens >= total) ?? null;
  }

  async #readPrompt(tokens: number, ids: readonly number[]): Promise<Logits> {
    const session = await this.#promptReaderOf(tokens);
    const padded = new BigInt64Array(tokens);
    padded.set(ids.map(BigInt));
    const mask = new BigInt64Array(tokens).fill(1n); // no token attends to the padding behind it
    const logits = await this.#run(session, padded, mask, ids.length - 1, this.#zeros());
    this.#ids.splice(0, Infinity, ...ids);
    return logits;
  }

  async #readToken(session: InferenceSession, id: number): Promise<Logits> {
    const mask = new BigInt64Array(this.#contextLength).fill(1n, 0, this.#ids.length + 1);
    const past = this.#past ?? this.#zeros();
    const logits = await this.#run(session, BigInt64Array.of(BigInt(id)), mask, 0, past);
    this.#ids.push(id);
    return logits;
  }

  async #run(
    session: InferenceSession,
    ids: BigInt64Array,
    mask: BigInt64Array,
    position: number,
    past: Record<string, Tensor>,
  ): Promise<Logits> {
    const { names } = this.#config;
    const int64 = (values: BigInt64Array, dims: readonly number[]) =>
      new this.#ort.Tensor('int64', values, dims);
    const asked = session.inputNames.includes(LAST_POSITION)
      ? { [LAST_POSITION]: int64(BigInt64Array.of(BigInt(position)), [1]) }
      : {};
    const results = await session.run({
      ...past,
      ...asked,
      [names.inputIds]: int64(ids, [1, ids.length]), // (1, T)
      [names.attentionMask]: int64(mask, [1, mask.length]), // (1, S)
    });
    this.#keep(results);
    const logits = results[names.logits]; // (1, 1, V)
    if (logits?.type !== 'float32')
      throw new LocalphiError('device', `wanted float32 logits, but they are ${logits?.type}`);
    return logitsInMemory(logits.data as Float32Array);
  }

  async #promptReaderOf(tokens: number): Promise<InferenceSession> {
    if (this.#promptReader?.tokens !== tokens) {
      await this.#promptReader?.session.release();
      this.#promptReader = null;
      this.#promptReader = { tokens, session: await this.#makePromptReader(tokens) };
    }
    return this.#promptReader.session;
  }

  /** Takes over the keys and values of a run, and frees those before. */
  #keep(results: InferenceSession.OnnxValueMapType | null): void {
    const presents = presentNames(this.#config);
    const before = Object.values(this.#past ?? {});
    const names = pastNames(this.#config);
    this.#past =
      results &&
      Object.fromEntries(names.map((name, i) => [name, this.#whole(results[presents[i]!]!)]));
    for (const tensor of before) tensor.dispose();
  }

  /** The same tensor with the shape that it has: after a prompt its graph tells that of the prompt. */
  #whole(tensor: Tensor): Tensor {
    if (tensor.location !== 'ml-tensor') return tensor;
    const dispose = () => {
      tensor.dispose();
    };
    const options = { dataType: 'float32', dims: this.#dims, dispose } as const;
    return this.#ort.Tensor.fromMLTensor(tensor.mlTensor, options);
  }

  #zeros(): Record<string, Tensor> {
    const zeros = new Float32Array(this.#dims.reduce((product, dim) => product * dim, 1));
    const tensor = () => new this.#ort.Tensor('float32', zeros, this.#dims);
    return Object.fromEntries(pastNames(this.#config).map((name) => [name, tensor()]));
  }

  get #dims(): readonly number[] {
    return [1, this.#config.kvHeads, this.#contextLength, this.#config.headSize]; // (1, H, S, D)
  }
}
