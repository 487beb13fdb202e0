/** The model in this browser: speaks the protocol with the worker. */
import { LocalphiError, fromShape } from '../shared/errors';
import type {
  BrowserDevice,
  ChatOptions,
  CheckReport,
  LoadNote,
  LoadProgress,
  Message,
  ModelSummary,
  PageMessage,
  RungReport,
  StorageReport,
  WorkerMessage,
} from '../shared/protocol';
import type { AnswerEnd, AnswerHandlers, Backend } from './backend';
import { Turns } from './turns';

/** How loading went; `device` is null when no device of this browser holds. */
export interface Loaded {
  readonly device: BrowserDevice | null;
  readonly model: ModelSummary | null;
  readonly rungs: readonly RungReport[];
  readonly notes: readonly LoadNote[];
}

/** Where a worker begins on the ladder. */
export interface Step {
  readonly choice: 'auto' | BrowserDevice;
  /** With one thread, though the browser has more. */
  readonly oneThread: boolean;
}

/** Told how loading goes, and asked what to do. */
export interface LoadHandlers {
  onProgress(progress: LoadProgress): void;
  /** A large download is about to begin; it does once the promise has settled. */
  onPlan(fetchBytes: number): Promise<void>;
  /**
   * The browser will not keep so much (freeBytes: what it would, null when it does not tell).
   * Once the promise resolves, the model is fetched for this visit only.
   */
  onSpace(needsBytes: number, freeBytes: number | null): Promise<void>;
  /** The device that is tried now. */
  onTrying(device: BrowserDevice): void;
}

export interface LoadOptions {
  readonly signal: AbortSignal;
  /** Most tokens to read; left out or null: all that the model can. */
  readonly contextLength?: number | null;
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
  #loadId = 0;
  readonly #turns = new Turns();
  readonly #closed = new AbortController();

  /**
   * worker: a fresh one, owned from here on.
   * onRungs: told when a device failed in the middle of an answer.
   */
  constructor(worker: Worker, onRungs: (rungs: readonly RungReport[]) => void) {
    this.#worker = worker;
    this.#onRungs = onRungs;
    worker.addEventListener('message', ({ data }: MessageEvent<WorkerMessage>) => {
      if (data.type === 'alive') this.#watch(data.lock);
      else this.#exchanges.get(data.id)?.onMessage(data);
    });
    worker.addEventListener('error', (event) => {
      this.#fail(event.message || 'the worker could not be started');
    });
  }

  /**
   * Rejects when the files are at fault or the worker died; with `stopped` when the signal aborts.
   * What has been fetched by then is kept.
   */
  load(
    modelId: string,
    { choice, oneThread }: Step,
    handlers: LoadHandlers,
    { signal, contextLength = null }: LoadOptions,
  ): Promise<Loaded> {
    const id = ++this.#lastId;
    this.#loadId = id;
    const goOn = () => {
      this.#send({ type: 'go-on', id });
    };
    const cancel = () => {
      this.#send({ type: 'cancel', id });
    };
    const loaded = this.#exchange<Loaded>(
      { type: 'load', id, modelId, choice, oneThread, contextLength },
      (message, resolve) => {
        if (message.type === 'progress') handlers.onProgress(message.progress);
        else if (message.type === 'trying') handlers.onTrying(message.device);
        else if (message.type === 'plan') {
          handlers.onPlan(message.fetchBytes).then(goOn, goOn);
        } else if (message.type === 'space') {
          handlers.onSpace(message.needsBytes, message.freeBytes).then(goOn, cancel);
        } else if (message.type === 'loaded') resolve(message);
        else if (message.type === 'unavailable') {
          resolve({ device: null, model: null, rungs: message.rungs, notes: [] });
        }
      },
    );
    signal.addEventListener('abort', cancel);
    if (signal.aborted) cancel();
    return loaded.finally(() => {
      signal.removeEventListener('abort', cancel);
    });
  }

  /** Holds the download, or lets it go on. No effect when there is none. */
  hold(paused: boolean): void {
    this.#send({ type: paused ? 'pause' : 'resume', id: this.#loadId });
  }

  /** What the browser keeps of models. */
  kept(): Promise<StorageReport> {
    const id = ++this.#lastId;
    return this.#exchange({ type: 'kept', id }, (message, resolve) => {
      if (message.type === 'kept') resolve(message.storage);
    });
  }

  /** Rejects with `busy` while the model is being fetched. */
  remove(modelId: string): Promise<void> {
    const id = ++this.#lastId;
    return this.#exchange({ type: 'remove', id, modelId }, (message, resolve) => {
      if (message.type === 'removed') resolve();
    });
  }

  /** Compares what is kept of the model with its manifest, and fetches damaged parts again. */
  check(modelId: string, { force }: { force: boolean }): Promise<CheckReport> {
    const id = ++this.#lastId;
    return this.#exchange({ type: 'check', id, modelId, force }, (message, resolve) => {
      if (message.type !== 'checked') return;
      if (message.rungs) this.#onRungs(message.rungs);
      resolve(message.report);
    });
  }

  /**
   * One answer at a time, first come, first served: others wait here, where they can be cancelled at once.
   */
  async chat(
    messages: readonly Message[],
    options: ChatOptions,
    handlers: AnswerHandlers,
    { signal }: { signal: AbortSignal },
  ): Promise<AnswerEnd> {
    const turn = this.#turns.enter(signal);
    if (turn) await turn;
    try {
      return await this.#answer(messages, options, handlers, { signal });
    } finally {
      this.#turns.leave();
    }
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
        else if (message.type === 'text') {
          handlers.onIds?.(message.ids);
          handlers.onText(message.text);
        } else if (message.type === 'call' || message.type === 'arguments') {
          const { ids, ...piece } = message;
          handlers.onIds?.(ids);
          handlers.onCall?.(piece);
        } else if (message.type === 'moved') {
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
          else {
            const tell = () => {
              onMessage(answer, resolve);
            };
            this.#told(id, tell, reject);
          }
        },
      });
      this.#send(message);
    }).finally(() => {
      this.#exchanges.delete(id);
    });
  }

  /** Tells it to who asked; what that throws ends the exchange. */
  #told(id: number, tell: () => void, reject: (error: unknown) => void): void {
    try {
      tell();
    } catch (error) {
      this.#send({ type: 'cancel', id });
      reject(error);
    }
  }

  /** A worker that is gone says nothing; but it lets go of its lock. */
  #watch(lock: string): void {
    const gone = () => {
      this.#fail('the worker has ended');
    };
    navigator.locks.request(lock, this.#closed, gone).catch(() => {}); // closed before
  }

  #send(message: PageMessage): void {
    this.#worker.postMessage(message);
  }

  #fail(detail: string): void {
    this.#closed.abort();
    this.#worker.terminate();
    this.#fault ??= new LocalphiError('worker', detail);
    for (const { reject } of this.#exchanges.values()) reject(this.#fault);
  }
}
