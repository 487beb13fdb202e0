/** `chat.completions` on top of the engine. */
import type { AnswerEnd, AnswerHandlers } from '../page/backend';
import { steadyChat } from '../page/steady-answer';
import type { BackendSource } from '../page/steady-answer';
import { LocalphiError } from '../shared/errors';
import type { CallPiece } from '../shared/protocol';
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionMessageToolCall,
  ChatCompletionParams,
  ChatCompletionParamsNonStreaming,
  ChatCompletionParamsStreaming,
  ChatCompletionStream,
  Completions,
  CompletionUsage,
  FinishReason,
  PhiTimings,
  RequestOptions,
} from './api';
import { parseRequest } from './request';
import type { ParsedRequest } from './request';
import { AnswerStream } from './answer-stream';
import type { Item } from './answer-stream';

export class ChatCompletions implements Completions {
  readonly #engine: BackendSource;
  readonly #modelId: () => string;

  /** modelId: tells the loaded model; throws when there is none any more. */
  constructor(engine: BackendSource, modelId: () => string) {
    this.#engine = engine;
    this.#modelId = modelId;
  }

  create(
    params: ChatCompletionParamsStreaming,
    options?: RequestOptions,
  ): Promise<ChatCompletionStream>;
  create(
    params: ChatCompletionParamsNonStreaming,
    options?: RequestOptions,
  ): Promise<ChatCompletion>;
  create(
    params: ChatCompletionParams,
    options?: RequestOptions,
  ): Promise<ChatCompletion | ChatCompletionStream>;
  async create(
    params: ChatCompletionParams,
    { signal }: RequestOptions = {},
  ): Promise<ChatCompletion | ChatCompletionStream> {
    const modelId = this.#modelId();
    const request = parseRequest(params, modelId);
    const head = {
      id: `chatcmpl-${crypto.randomUUID()}`,
      created: Math.floor(Date.now() / 1000),
      model: request.options.adapter ? `${modelId}:${request.options.adapter}` : modelId,
    };
    signal?.throwIfAborted();
    const controller = new AbortController();
    const abort = () => {
      controller.abort(signal?.reason);
    };
    signal?.addEventListener('abort', abort, { once: true });
    const items = new AnswerStream<AnswerEnd>();
    void this.#answer(request, items, controller.signal).finally(() => {
      signal?.removeEventListener('abort', abort);
    });
    if (!request.stream) return whole(head, items);
    await items.begun();
    return { controller, [Symbol.asyncIterator]: () => chunks(head, request, items, controller) };
  }

  /** Makes the answer, with as many backends as it takes. */
  async #answer(
    { messages, options }: ParsedRequest,
    items: AnswerStream<AnswerEnd>,
    signal: AbortSignal,
  ): Promise<void> {
    const handlers: AnswerHandlers = {
      onReading: () => {
        items.begin();
      },
      onMoved: () => {},
      onText: (text) => {
        items.push(text);
      },
      onCall: (piece) => {
        items.push(piece);
      },
    };
    try {
      items.end(await steadyChat(this.#engine, messages, options, handlers, { signal }));
    } catch (error) {
      items.fail(isRefusal(error) ? new TypeError(error.message, { cause: error }) : error);
    }
  }
}

interface Head {
  readonly id: string;
  readonly created: number;
  readonly model: string;
}

async function whole(head: Head, items: AnswerStream<AnswerEnd>): Promise<ChatCompletion> {
  let content = '';
  const calls: ChatCompletionMessageToolCall[] = [];
  for (let next; (next = await items.next()).item !== null;) {
    if (typeof next.item === 'string') content += next.item;
    else take(calls, next.item);
  }
  const end = await items.ended();
  const message = calls.length > 0 ? { content: content || null, tool_calls: calls } : { content };
  return {
    ...head,
    object: 'chat.completion',
    choices: [{ index: 0, message: { role: 'assistant', ...message }, finish_reason: finish(end) }],
    usage: usage(end),
    timings: timings(end),
  };
}

async function* chunks(
  head: Head,
  { includeUsage }: ParsedRequest,
  items: AnswerStream<AnswerEnd>,
  controller: AbortController,
): AsyncGenerator<ChatCompletionChunk, void, undefined> {
  const chunk = (delta: Delta, reason: FinishReason | null = null): ChatCompletionChunk => ({
    ...{ ...head, object: 'chat.completion.chunk' },
    choices: [{ index: 0, delta, finish_reason: reason }],
  });
  try {
    yield chunk({ role: 'assistant', content: '' });
    for (let next; (next = await items.next()).item !== null;) yield chunk(deltaOf(next.item));
    const end = await items.ended();
    if (end.reason === 'cancelled') return;
    yield { ...chunk({}, finish(end)), timings: timings(end) };
    if (includeUsage) {
      yield { ...head, object: 'chat.completion.chunk', choices: [], usage: usage(end) };
    }
  } catch (error) {
    if (!isAbort(error)) throw error;
  } finally {
    controller.abort(); // no-op for an answer that is over
  }
}

type Delta = ChatCompletionChunk['choices'][number]['delta'];

function deltaOf(item: Item): Delta {
  if (typeof item === 'string') return { content: item };
  const { index } = item;
  if (item.type === 'arguments') {
    return { tool_calls: [{ index, function: { arguments: item.text } }] };
  }
  const called = { name: item.name, arguments: '' };
  return { tool_calls: [{ index, id: item.callId, type: 'function', function: called }] };
}

/** Adds to the calls what a piece tells of them. */
function take(calls: ChatCompletionMessageToolCall[], piece: CallPiece): void {
  const { index } = piece;
  if (piece.type === 'call') {
    const called = { name: piece.name, arguments: '' };
    calls[index] = { id: piece.callId, type: 'function', function: called };
    return;
  }
  const call = calls[index]!;
  const given = call.function.arguments + piece.text;
  calls[index] = { ...call, function: { ...call.function, arguments: given } };
}

/** Whether a parameter cannot be used: only the worker knows what a schema comes to. */
function isRefusal(error: unknown): error is LocalphiError {
  return error instanceof LocalphiError && error.kind === 'request';
}

/** Throws an AbortError for an answer that was cancelled. */
function finish({ reason }: AnswerEnd): FinishReason {
  if (reason === 'cancelled') throw new DOMException('the answer was cancelled', 'AbortError');
  return reason;
}

function usage({ stats }: AnswerEnd): CompletionUsage {
  return {
    prompt_tokens: stats.promptTokens,
    completion_tokens: stats.tokens,
    total_tokens: stats.promptTokens + stats.tokens,
    prompt_tokens_details: { cached_tokens: stats.cachedTokens },
  };
}

function timings({ stats }: AnswerEnd): PhiTimings {
  const { device, firstTokenMs, tokensPerSecond } = stats;
  return { device, first_token_ms: firstTokenMs, tokens_per_second: tokensPerSecond };
}

function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError';
}
