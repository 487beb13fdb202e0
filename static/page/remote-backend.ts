/** The model on the server that gave us this page, over its OpenAI-compatible API. */
import { LocalphiError, messageOf } from '../shared/errors';
import type { ErrorKind } from '../shared/errors';
import { asArray, asCount, asObject, asString, parseJson } from '../shared/json';
import type { JsonObject } from '../shared/json';
import type { CallPiece, ChatOptions, EndReason, Message } from '../shared/protocol';
import type { AnswerEnd, AnswerHandlers, Backend } from './backend';
import { SseParser } from './sse';
import { wireMessage, wireOfHeld } from './wire';

const DONE = '[DONE]';

/** What has come of an answer so far. */
interface Progress {
  readonly startMs: number;
  firstMs: number | null;
  promptTokens: number;
  cachedTokens: number;
  tokens: number;
  /** As the server measured it; pieces arrive in bursts, so the clock here is a poor one. */
  tokensPerSecond: number | null;
  finish: EndReason;
}

export class RemoteBackend implements Backend {
  readonly #modelId: string;
  readonly #fetch: typeof fetch;

  constructor(modelId: string, fetchUrl: typeof fetch = fetch.bind(globalThis)) {
    this.#modelId = modelId;
    this.#fetch = fetchUrl;
  }

  async chat(
    messages: readonly Message[],
    options: ChatOptions,
    handlers: AnswerHandlers,
    { signal }: { signal: AbortSignal },
  ): Promise<AnswerEnd> {
    const startMs = performance.now();
    const progress: Progress = {
      ...{ startMs, firstMs: null },
      ...{ promptTokens: 0, cachedTokens: 0, tokens: 0, tokensPerSecond: null, finish: 'stop' },
    };
    try {
      const response = await this.#post(messages, options, signal);
      await readAnswer(response, progress, handlers);
    } catch (error) {
      if (!signal.aborted) throw serverFault(error);
      progress.finish = 'cancelled';
    }
    return endOf(progress);
  }

  async #post(
    messages: readonly Message[],
    options: ChatOptions,
    signal: AbortSignal,
  ): Promise<Response> {
    const held = options.tools !== undefined || options.answerFormat !== undefined;
    const begunIds = held ? undefined : options.begunIds; // a grammar begins with its answer
    // What is undefined does not get into the JSON.
    const body = {
      model: this.#modelId,
      messages: messages.map(wireMessage),
      stream: true,
      stream_options: { include_usage: true },
      max_tokens: options.maxTokens,
      temperature: options.temperature,
      top_p: options.topP,
      top_k: options.topK,
      min_p: options.minP,
      seed: begunIds ? undefined : options.seed, // it would begin its random numbers again
      begun_ids: begunIds,
      repetition_penalty: options.repetitionPenalty,
      presence_penalty: options.presencePenalty,
      frequency_penalty: options.frequencyPenalty,
      stop: options.stop,
      adapter: options.adapter,
      ignore_eos: options.ignoreEnd,
      ...wireOfHeld(options),
    };
    const response = await this.#fetch('/v1/chat/completions', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
      signal,
    }).catch(broken);
    if (!response.ok) throw await refusal(response);
    return response;
  }
}

/** Ids of the server's models, the default one first. Rejects with `network` or `server`. */
export async function fetchModelIds(fetchUrl: typeof fetch = fetch): Promise<readonly string[]> {
  try {
    const { data } = await fetchJson(fetchUrl, '/v1/models');
    const models = asArray(data, '/v1/models data');
    return models.map((model) => asString(asObject(model, 'model')['id'], 'id'));
  } catch (error) {
    throw serverFault(error);
  }
}

/** Rejects with what the server says where it refuses. */
export async function fetchJson(
  fetchUrl: typeof fetch,
  url: string,
  init?: RequestInit,
): Promise<JsonObject> {
  const response = await fetchUrl(url, init).catch(broken);
  if (!response.ok) throw await refusal(response);
  return asObject(await response.json(), url);
}

/** An answer that cannot be read is the server's fault, whatever the parser calls it. */
function serverFault(error: unknown): LocalphiError {
  if (error instanceof LocalphiError && error.kind !== 'manifest') return error;
  const message = `the server's answer cannot be read: ${messageOf(error)}`;
  return new LocalphiError('server', message, { cause: error });
}

async function readAnswer(response: Response, progress: Progress, handlers: AnswerHandlers) {
  const parser = new SseParser();
  const decoder = new TextDecoder();
  const reader = response.body?.getReader();
  for (;;) {
    const part = await reader?.read().catch(broken);
    if (part?.value === undefined) break;
    for (const data of parser.push(decoder.decode(part.value, { stream: true }))) {
      if (data === DONE) return;
      takeChunk(asObject(parseJson(data, 'the answer'), 'the answer'), progress, handlers);
    }
  }
  throw new LocalphiError('network', 'the answer broke off: the connection was closed');
}

/** Throws a `server` error when the chunk is one. */
function takeChunk(chunk: JsonObject, progress: Progress, handlers: AnswerHandlers): void {
  if (chunk['error'] !== undefined) throw serverError(chunk['error']);
  if (typeof chunk['usage'] === 'object' && chunk['usage'] !== null) {
    const usage = asObject(chunk['usage'], 'usage');
    progress.promptTokens = Number(usage['prompt_tokens']);
    progress.tokens = Number(usage['completion_tokens']);
    const details = usage['prompt_tokens_details'] ?? {};
    progress.cachedTokens = Number(asObject(details, 'details')['cached_tokens'] ?? 0);
  }
  if (typeof chunk['timings'] === 'object' && chunk['timings'] !== null) {
    progress.tokensPerSecond = Number(asObject(chunk['timings'], 'timings')['tokens_per_second']);
  }
  for (const item of asArray(chunk['choices'], 'choices')) {
    takeChoice(asObject(item, 'choices[]'), progress, handlers);
  }
}

function takeChoice(choice: JsonObject, progress: Progress, handlers: AnswerHandlers): void {
  const { content, tool_calls: calls } = asObject(choice['delta'], 'delta');
  const { finish_reason: reason } = choice;
  if (reason === 'length' || reason === 'tool_calls') progress.finish = reason;
  for (const call of calls === undefined ? [] : asArray(calls, 'tool_calls')) {
    progress.firstMs ??= performance.now();
    for (const piece of piecesOf(asObject(call, 'tool_calls[]'))) handlers.onCall?.(piece);
  }
  if (typeof content !== 'string' || content === '') return;
  progress.tokens += 1; // about one a piece; the usage at the end says it exactly
  progress.firstMs ??= performance.now();
  handlers.onText(content);
}

/** A call that begins, and what comes of its arguments. */
function piecesOf(call: JsonObject): readonly CallPiece[] {
  const called = asObject(call['function'], 'function');
  const index = asCount(call['index'], 'index');
  const pieces: CallPiece[] = [];
  if (call['id'] !== undefined) {
    const callId = asString(call['id'], 'id');
    pieces.push({ type: 'call', index, callId, name: asString(called['name'], 'name') });
  }
  const text = asString(called['arguments'] ?? '', 'arguments');
  if (text !== '') pieces.push({ type: 'arguments', index, text });
  return pieces;
}

function endOf(progress: Progress): AnswerEnd {
  const { startMs, firstMs, finish, promptTokens, cachedTokens, tokens, tokensPerSecond } =
    progress;
  const firstTokenMs = (firstMs ?? performance.now()) - startMs;
  const counts = { promptTokens, cachedTokens, tokens, tokensPerSecond };
  return { reason: finish, stats: { device: 'server', firstTokenMs, ...counts }, ids: null };
}

async function refusal(response: Response): Promise<LocalphiError> {
  const text = await response.text();
  try {
    return serverError(asObject(JSON.parse(text), 'the answer')['error']);
  } catch {
    return new LocalphiError('server', `the server answered ${response.status}`);
  }
}

function serverError(error: unknown): LocalphiError {
  const { code, message } = asObject(error, 'error');
  const kind = KINDS.get(code) ?? 'server';
  return new LocalphiError(kind, asString(message, 'error.message'));
}

/** By the server's codes. */
const KINDS: ReadonlyMap<unknown, ErrorKind> = new Map([
  ['context_length_exceeded', 'context'],
  ['adapter_not_found', 'adapter'],
  ['adapter_invalid', 'adapter'],
]);

function broken(cause: unknown): never {
  throw new LocalphiError('network', `the server could not be reached: ${messageOf(cause)}`, {
    cause,
  });
}
