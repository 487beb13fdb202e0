/** One model, ready to answer: its files, its tokenizer, a session on the best device that holds. */
import { LocalphiError } from '../shared/errors';
import { parseJson } from '../shared/json';
import { parseDecoderConfig, withGraphOf } from '../shared/manifest';
import type { DecoderConfig, FileEntry, Manifest, Sampling, Variant } from '../shared/manifest';
import { render } from '../shared/prompt';
import type {
  AnswerIds,
  AnswerStats,
  BrowserDevice,
  ChatOptions,
  EndReason,
  Message,
  ModelSummary,
  RungReport,
} from '../shared/protocol';
import { Adapters } from './adapters';
import { checkCanary } from './canary';
import { Ladder, RUNGS, reasonOf } from './devices';
import type { Footing, Rung } from './devices';
import type { FilesOptions, ModelFetcher } from './files/fetch-model';
import { needOf } from './memory-plan';
import { generate, replay } from './runtime/generate';
import type { Answer, AnswerListener } from './runtime/generate';
import { Guides } from './runtime/guides';
import { NO_RULES, Sampler } from './runtime/sampler';
import type { SamplingRules } from './runtime/sampler';
import type { DecoderSession } from './runtime/decoder';
import type { ModelFiles, SessionSource } from './runtime/session';
import { StopStrings } from './runtime/stops';
import { Stopwatch } from './runtime/stopwatch';
import { Tokenizer } from './runtime/tokenizer';
import { serverFetch } from './server-fetch';

/** Compiling shaders for a big model may take a minute; a provider that hangs takes for ever. */
const SESSION_TIMEOUT_MS = 120_000;

const CONFIG = 'genai_config.json';

/** Told what happens to an answer, in order. */
export interface ChatListener extends AnswerListener {
  /** The device failed, and the same answer goes on on another one. */
  onMoved(device: BrowserDevice): void;
}

export interface ChatEnd {
  readonly reason: EndReason;
  readonly stats: AnswerStats;
  readonly ids: AnswerIds;
}

/** What turns a conversation into ids and back. */
interface Language {
  readonly tokenizer: Tokenizer;
  readonly endIds: ReadonlySet<number>;
  readonly guides: Guides;
}

/** One call at a time. */
export class Model {
  readonly manifest: Manifest;
  readonly #fetcher: ModelFetcher;
  readonly #bornAtMs = Date.now();
  #options: FilesOptions;
  readonly #ladder = new Ladder(RUNGS, (rung) => this.#open(rung));
  #footing: Footing | null = null;
  #onTrying: (device: BrowserDevice) => void = () => {};
  #language: Language | null = null;
  readonly #mostTokens: number;
  readonly #adapters: Adapters;
  /** Of the rung in use. */
  #variant: Variant | null = null;
  /** Sessions take adapters where they can: from the first answer on that wants one. */
  #adaptable = false;

  /** mostTokens: to read at once; null for all that the model can. options: how `load` fetches files. */
  constructor(
    manifest: Manifest,
    fetcher: ModelFetcher,
    mostTokens: number | null,
    options: FilesOptions,
  ) {
    this.manifest = manifest;
    this.#mostTokens = mostTokens ?? Infinity;
    this.#adapters = new Adapters(manifest, serverFetch);
    this.#fetcher = fetcher;
    this.#options = options;
  }

  get rungs(): readonly RungReport[] {
    return this.#ladder.reports;
  }

  /** On the rung in use. */
  get summary(): ModelSummary {
    const { id, name } = this.manifest;
    const longestContext = this.#longestContext(this.#variant);
    const tokenBytes = this.#variant?.memory?.kvBytesPerToken ?? null;
    const contextLength = this.#contextLength(this.#variant);
    return { id, name, contextLength, longestContext, tokenBytes };
  }

  /**
   * The device that holds, or null when none does; onTrying: told each one before it is tried. Rejects when the
   * files are at fault, or the worker is of no use any more.
   */
  async load(
    choice: 'auto' | BrowserDevice,
    onTrying: (device: BrowserDevice) => void,
  ): Promise<BrowserDevice | null> {
    try {
      this.#onTrying = onTrying;
      this.#footing = await this.#ladder.climb(choice);
      return this.#footing?.device ?? null;
    } finally {
      this.#options = inSilence(this.#options);
      this.#onTrying = () => {};
    }
  }

  /**
   * Answer the conversation. When the device fails, the next one reads prompt and answer so far and
   * goes on. Rejects with `context` when there is no room, `device` when no device is left, and as `Adapters`
   * does, or with `no-lora`, when the adapter cannot be had.
   */
  async chat(
    messages: readonly Message[],
    options: ChatOptions,
    listener: ChatListener,
    { signal }: { signal: AbortSignal },
  ): Promise<ChatEnd> {
    const answer = this.#answer(messages, options);
    const watch = new Stopwatch();
    let cachedTokens = -1; // until reading begins
    const timed: AnswerListener = {
      onReading: (doneTokens, totalTokens) => {
        if (cachedTokens < 0) cachedTokens = doneTokens;
        listener.onReading(doneTokens, totalTokens);
      },
      onText: listener.onText.bind(listener),
      onCall: listener.onCall.bind(listener),
      onToken: (id) => {
        watch.token();
        listener.onToken(id);
      },
    };
    const begunIds = options.begunIds ?? [];
    const over = replay(answer, begunIds, listener);
    for (;;) {
      try {
        await this.#wear(options.adapter, signal);
        const { device, session } = this.#standing();
        const reason = over ?? (await generate(session, answer, timed, { signal }));
        const { promptIds, ids } = answer;
        const prompt = { promptTokens: promptIds.length, cachedTokens: Math.max(0, cachedTokens) };
        const { tokens, ...times } = watch.read();
        const stats = { device, ...prompt, tokens: begunIds.length + tokens, ...times };
        return { reason, stats, ids: { promptIds, ids } };
      } catch (error) {
        listener.onMoved(await this.#moveOn(error));
      }
    }
  }

  /** Frees the session. May be called twice. */
  async dispose(): Promise<void> {
    const footing = this.#footing;
    this.#footing = null;
    await footing?.session.dispose();
  }

  /** Makes the session anew, on the same device if it holds: the files have changed under it. */
  async reopen(): Promise<void> {
    const device = this.#footing?.device;
    if (!device) return;
    await this.dispose();
    this.#footing = await this.#ladder.climb(device);
  }

  /** Lets the session answer with the adapter of that name. A cancel leaves it half done; nothing is read then. */
  async #wear(name: string | undefined, signal: AbortSignal): Promise<void> {
    try {
      const adapter = name === undefined ? null : await this.#adapters.find(name, { signal });
      if (adapter && !this.#adaptable && this.#variant?.lora) {
        // Another graph over the same weights. It is slower, so that only those get it who have adapters.
        this.#adaptable = true;
        await this.reopen();
      }
      const { device, session } = this.#standing();
      if (adapter && !session.adapters)
        throw new LocalphiError('no-lora', `the model's files for ${device} take no adapters`);
      await session.adapters?.wear(adapter);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  async #moveOn(error: unknown): Promise<BrowserDevice> {
    if (!(error instanceof LocalphiError && error.kind === 'device') || isBeyondRepair(error))
      throw error;
    // Freeing what is broken may fail as well; the reason to go on is the first error.
    await this.dispose().catch(() => {});
    this.#footing = await this.#ladder.descend(reasonOf(error));
    if (!this.#footing) throw error;
    return this.#footing.device;
  }

  #standing(): Footing {
    if (!this.#footing) throw new LocalphiError('device', 'no device of this browser is in use');
    return this.#footing;
  }

  #answer(messages: readonly Message[], options: ChatOptions): Answer {
    if (!this.#language) throw new LocalphiError('device', 'the model is not loaded');
    const { tokenizer, endIds, guides } = this.#language;
    const { promptFormat, sampling, systemPrompt } = this.manifest;
    const contextLength = this.#contextLength(this.#variant);
    const { tools = [], toolChoice = 'auto', parallelToolCalls = true } = options;
    const { answerFormat = null } = options;
    const guided = guides.begin({ tools, toolChoice, parallelToolCalls, answerFormat });
    const promptIds = tokenizer.encode(
      render(promptFormat, messages, systemPrompt, { tools, answerFormat }),
    );
    const room = contextLength - promptIds.length;
    if (room <= 0) {
      throw new LocalphiError(
        'context',
        `the conversation is ${promptIds.length} tokens long, and the model reads ${contextLength}${
          contextLength < this.#longestContext(this.#variant) ? ' as it is set' : ''
        }`,
      );
    }
    return {
      promptIds,
      ids: [],
      maxTokens: Math.min(room, options.maxTokens ?? room),
      endIds: options.ignoreEnd ? new Set() : endIds,
      sampler: new Sampler(
        rulesOf(sampling, options),
        options.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!,
        promptIds,
      ),
      ...guided,
      stops: new StopStrings(options.stop ?? []),
    };
  }

  /** A session on the rung that passed the canary. */
  async #open(rung: Rung): Promise<DecoderSession> {
    const variant = this.manifest.variants.get(rung.variant);
    if (!variant) throw new LocalphiError('variant', `the model has no variant ${rung.variant}`);
    this.#onTrying(rung.device);
    try {
      return await this.#openVariant(rung, variant);
    } catch (error) {
      // Before a device is blamed: stored files are trusted, and may have changed since they came.
      if (!mayBeTheFiles(error) || !(await this.#mend(variant))) throw error;
      return this.#openVariant(rung, variant);
    }
  }

  async #openVariant(rung: Rung, variant: Variant): Promise<DecoderSession> {
    const config = await this.#readConfig(variant);
    await this.#plan(rung, variant, config);
    const files = await this.#fetcher.files(this.#filesOf(variant), this.#options);
    this.#language ??= await this.#readLanguage(files, config.endIds);
    this.#variant = variant;
    const graphFile = this.#adaptable && variant.lora ? variant.lora.name : config.graphFile;
    const contextLength = this.#contextLength(variant);
    const source = { config: { ...config, graphFile }, contextLength, files };
    const limitMs = rung.timeoutMs ?? SESSION_TIMEOUT_MS;
    return withTimeout(openChecked(rung, source, variant), limitMs);
  }

  async #readConfig(variant: Variant): Promise<DecoderConfig> {
    const entries = variant.files.filter(({ name }) => name === CONFIG);
    const files = await this.#fetcher.files(entries, inSilence(this.#options)); // a few kB
    return withGraphOf(parseDecoderConfig(await readJson(files, CONFIG)), variant);
  }

  /** Rejects with `memory` when there is no room on the rung, whatever would be fetched. */
  async #plan(rung: Rung, variant: Variant, config: DecoderConfig): Promise<void> {
    if (!variant.memory) return;
    const contextLength = this.#contextLength(variant);
    const problem = await rung.plan(needOf(variant.memory, config.layers, contextLength));
    if (problem) throw new LocalphiError('memory', problem);
  }

  #contextLength(variant: Variant | null): number {
    return Math.min(this.#longestContext(variant), this.#mostTokens);
  }

  #longestContext(variant: Variant | null): number {
    return variant?.contextLength ?? this.manifest.contextLength;
  }

  /** Whether files were damaged and are whole again. */
  async #mend(variant: Variant): Promise<boolean> {
    const files = this.#filesOf(variant);
    const { repaired } = await this.#fetcher.check(files, this.#bornAtMs, this.#options);
    return repaired.length > 0;
  }

  #filesOf({ files, lora }: Variant): readonly FileEntry[] {
    return this.#adaptable && lora ? [...files, lora] : files;
  }

  async #readLanguage(files: ModelFiles, configEndIds: readonly number[]): Promise<Language> {
    const tokenizer = new Tokenizer(
      await readJson(files, 'tokenizer.json'),
      await readJson(files, 'tokenizer_config.json'),
    );
    const formatEndIds = this.manifest.promptFormat.end.map((token) => tokenizer.idOf(token));
    const endIds = new Set([...formatEndIds, ...configEndIds]);
    const guides = new Guides(tokenizer, this.manifest.promptFormat, endIds);
    return { tokenizer, endIds, guides };
  }
}

/** The model's own sampling, where the options do not say otherwise. */
function rulesOf(sampling: Sampling, options: ChatOptions): SamplingRules {
  return {
    temperature: options.temperature ?? sampling.temperature,
    topP: options.topP ?? sampling.topP,
    topK: options.topK ?? sampling.topK,
    minP: options.minP ?? NO_RULES.minP,
    repetitionPenalty: options.repetitionPenalty ?? NO_RULES.repetitionPenalty,
    presencePenalty: options.presencePenalty ?? NO_RULES.presencePenalty,
    frequencyPenalty: options.frequencyPenalty ?? NO_RULES.frequencyPenalty,
  };
}

/** How files are fetched when nobody watches any more: without questions, for this visit if need be. */
function inSilence(options: FilesOptions): FilesOptions {
  const yes = () => Promise.resolve();
  return { ...options, onProgress: () => {}, onPlan: yes, onSpace: yes };
}

/** WebAssembly has stopped for good, out of memory or bounds: this worker computes nothing any more. */
function isBeyondRepair(error: unknown): boolean {
  const cause = error instanceof LocalphiError ? error.cause : error;
  return cause instanceof WebAssembly.RuntimeError;
}

/** Errors that damaged weights can have for a consequence. */
function mayBeTheFiles(error: unknown): boolean {
  if (!(error instanceof LocalphiError)) return true;
  return ['canary', 'device', 'manifest'].includes(error.kind);
}

async function openChecked(
  rung: Rung,
  source: SessionSource,
  { canary }: Variant,
): Promise<DecoderSession> {
  const session = await rung.open(source);
  try {
    if (canary) await checkCanary(session, canary);
    return session;
  } catch (error) {
    await session.dispose();
    throw error;
  }
}

/** The opened session; rejects with `timeout` when it takes too long, and frees what comes late. */
async function withTimeout(
  opening: Promise<DecoderSession>,
  limitMs: number,
): Promise<DecoderSession> {
  let timer = 0;
  const late = new Promise<never>((_, reject) => {
    timer = self.setTimeout(() => {
      opening.then((session) => session.dispose()).catch(() => {});
      reject(new LocalphiError('timeout', `it was not ready after ${limitMs / 1000} s`));
    }, limitMs);
  });
  try {
    return await Promise.race([opening, late]);
  } finally {
    self.clearTimeout(timer);
  }
}

async function readJson(files: ModelFiles, name: string): Promise<unknown> {
  const blob = files.get(name);
  if (!blob) throw new LocalphiError('manifest', `the variant does not list ${name}`);
  return parseJson(await blob.text(), name);
}
