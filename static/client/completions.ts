/** `chat.completions` on top of the engine. */
import type { AnswerEnd, AnswerHandlers } from '../page/backend';
import type { Engine } from '../page/engine';
import { untilAborted } from '../page/until-aborted';
import { LocalphiError } from '../shared/errors';
import type {
  ChatCompletion,
  ChatCompletionChunk,
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
import { TextStream } from './text-stream';

/** The part of an engine that answers. */
export type Answering = Pick<Engine, 'ready' | 'fallBack'>;

export class ChatCompletions implements Completions {
  readonly #engine: Answering;
  readonly #modelId: () => string;

  /** modelId: tells the loaded model; throws when there is none any more. */
  constructor(engine: Answering, modelId: () => string) {
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
      model: modelId,
    };
    signal?.throwIfAborted();
    const controller = new AbortController();
    const abort = () => {
      controller.abort(signal?.reason);
    };
    signal?.addEventListener('abort', abort, { once: true });
    const texts = new TextStream<AnswerEnd>();
    void this.#answer(request, texts, controller.signal).finally(() => {
      signal?.removeEventListener('abort', abort);
    });
    if (!request.stream) return whole(head, texts);
    await texts.begun();
    return { controller, [Symbol.asyncIterator]: () => chunks(head, request, texts, controller) };
  }

  /** Makes the answer, with another backend if the first fails before it has said anything. */
  async #answer(
    { messages, options }: ParsedRequest,
    texts: TextStream<AnswerEnd>,
    signal: AbortSignal,
  ): Promise<void> {
    const progress = { said: false };
    const handlers: AnswerHandlers = {
      onReading: () => {
        texts.begin();
      },
      onMoved: () => {},
      onText: (text) => {
        progress.said = true;
        texts.push(text);
      },
    };
    for (;;) {
      try {
        const backend = await untilAborted(this.#engine.ready(), signal);
        texts.end(await backend.chat(messages, options, handlers, { signal }));
        return;
      } catch (error) {
        if (
          !progress.said &&
          error instanceof LocalphiError &&
          (await this.#engine.fallBack(error))
        )
          continue;
        texts.fail(error);
        return;
      }
    }
  }
}

interface Head {
  readonly id: string;
  readonly created: number;
  readonly model: string;
}

async function whole(head: Head, texts: TextStream<AnswerEnd>): Promise<ChatCompletion> {
  let content = '';
  for (let next; (next = await texts.next()).text !== null;) content += next.text;
  const end = await texts.ended();
  return {
    ...head,
    object: 'chat.completion',
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: finish(end) }],
    usage: usage(end),
    timings: timings(end),
  };
}

async function* chunks(
  head: Head,
  { includeUsage }: ParsedRequest,
  texts: TextStream<AnswerEnd>,
  controller: AbortController,
): AsyncGenerator<ChatCompletionChunk, void, undefined> {
  const chunk = (
    delta: ChatCompletionChunk['choices'][number]['delta'],
    reason: FinishReason | null = null,
  ): ChatCompletionChunk => ({
    ...{ ...head, object: 'chat.completion.chunk' },
    choices: [{ index: 0, delta, finish_reason: reason }],
  });
  try {
    yield chunk({ role: 'assistant', content: '' });
    for (let next; (next = await texts.next()).text !== null;) yield chunk({ content: next.text });
    const end = await texts.ended();
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
