/** The model in this browser: speaks the protocol with the worker. */
import { LocalphiError, fromShape } from '../shared/errors';
import type {
  BrowserDevice,
  ChatOptions,
  LoadNote,
  LoadProgress,
  Message,
  ModelSummary,
  PageMessage,
  RungReport,
  WorkerMessage,
} from '../shared/protocol';
import type { AnswerEnd, AnswerHandlers, Backend } from './backend';
import { untilAborted } from './until-aborted';

/** How loading went; `device` is null when no device of this browser holds. */
export interface Loaded {
  readonly device: BrowserDevice | null;
  readonly model: ModelSummary | null;
  readonly rungs: readonly RungReport[];
  readonly notes: readonly LoadNote[];
}

/** A worker looks for a cancel once per token; one that takes longer has died or hangs. */
const CANCEL_TIMEOUT_MS = 5000;

interface Exchange {
  readonly onMessage: (message: WorkerMessage) => void;
  readonly reject: (error: LocalphiError) => void;
}

export class LocalBackend implements Backend {
  readonly #worker: Worker;
  readonly #onRungs: (rungs: readonly RungReport[]) => void;
  readonly #exchanges = new Map<number, Exchange>();
  #fault: LocalphiError | null = null;
  #lastId = 0;
  /** The answer in the making; null when the model is free. */
  #answering: Promise<unknown> | null = null;

  /**
   * worker: a fresh one, owned from here on.
   * onRungs: told when a device failed in the middle of an answer.
   */
  constructor(worker: Worker, onRungs: (rungs: readonly RungReport[]) => void) {
    this.#worker = worker;
    this.#onRungs = onRungs;
    worker.addEventListener('message', ({ data }: MessageEvent<WorkerMessage>) => {
      this.#exchanges.get(data.id)?.onMessage(data);
    });
    worker.addEventListener('error', (event) => {
      this.#fail(event.message || 'the worker could not be started');
    });
  }

  /** Rejects when the files are at fault or the worker died. */
  load(
    modelId: string,
    choice: 'auto' | BrowserDevice,
    onProgress: (progress: LoadProgress) => void,
  ): Promise<Loaded> {
    const id = ++this.#lastId;
    return this.#exchange({ type: 'load', id, modelId, choice }, (message, resolve) => {
      if (message.type === 'progress') onProgress(message.progress);
      else if (message.type === 'loaded') resolve(message);
      else if (message.type === 'unavailable') {
        resolve({ device: null, model: null, rungs: message.rungs, notes: [] });
      }
    });
  }

  /**
   * One answer at a time: others wait for their turn here, where they can be cancelled at once.
   */
  async chat(
    messages: readonly Message[],
    options: ChatOptions,
    handlers: AnswerHandlers,
    { signal }: { signal: AbortSignal },
  ): Promise<AnswerEnd> {
    while (this.#answering) await untilAborted(this.#answering, signal);
    const answering = this.#answer(messages, options, handlers, { signal });
    this.#answering = answering.catch(() => {});
    return answering.finally(() => {
      this.#answering = null;
    });
  }

  #answer(
    messages: readonly Message[],
    options: ChatOptions,
    handlers: AnswerHandlers,
    { signal }: { signal: AbortSignal },
  ): Promise<AnswerEnd> {
    const id = ++this.#lastId;
    let timer = 0;
    const cancel = () => {
      this.#send({ type: 'cancel', id });
      timer = window.setTimeout(() => {
        this.#fail('the worker does not answer');
      }, CANCEL_TIMEOUT_MS);
    };
    const ended = this.#exchange<AnswerEnd>(
      { type: 'chat', id, messages, options },
      (message, resolve) => {
        if (message.type === 'reading') handlers.onReading(message.doneTokens, message.totalTokens);
        else if (message.type === 'text') handlers.onText(message.text);
        else if (message.type === 'moved') {
          this.#onRungs(message.rungs);
          handlers.onMoved(message.device);
        } else if (message.type === 'done') resolve(message);
      },
    );
    signal.addEventListener('abort', cancel);
    if (signal.aborted) cancel();
    return ended.finally(() => {
      signal.removeEventListener('abort', cancel);
      window.clearTimeout(timer);
    });
  }

  /** Ends the worker and with it all it held; what is under way rejects. May be called twice. */
  close(): void {
    this.#fail('the worker was closed');
  }

  /** Sends the message and settles with what the handler makes of the answers. */
  #exchange<T>(
    message: PageMessage,
    onMessage: (message: WorkerMessage, resolve: (value: T) => void) => void,
  ): Promise<T> {
    if (this.#fault) return Promise.reject(this.#fault);
    const { id } = message;
    return new Promise<T>((resolve, reject) => {
      this.#exchanges.set(id, {
        reject,
        onMessage: (answer) => {
          if (answer.type === 'error') reject(fromShape(answer.error));
          else onMessage(answer, resolve);
        },
      });
      this.#send(message);
    }).finally(() => {
      this.#exchanges.delete(id);
    });
  }

  #send(message: PageMessage): void {
    this.#worker.postMessage(message);
  }

  #fail(detail: string): void {
    this.#worker.terminate();
    this.#fault ??= new LocalphiError('worker', detail);
    for (const { reject } of this.#exchanges.values()) reject(this.#fault);
  }
}
