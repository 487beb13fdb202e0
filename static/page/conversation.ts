/** The chat: what was said, and the one answer that may be in the making. */
import { batch, computed, signal } from '@preact/signals';
import type { ReadonlySignal, Signal } from '@preact/signals';

import { LocalphiError, fromShape, toShape } from '../shared/errors';
import type { ErrorShape } from '../shared/errors';
import type { AnswerStats, BrowserDevice, Message, Role } from '../shared/protocol';
import type { AnswerEnd, Backend } from './backend';
import type { StoredEntry } from './history';

/** Where an entry stands. `waiting` is before the first piece of text. */
export type EntryStatus =
  | { readonly state: 'waiting'; readonly readShare: number }
  | { readonly state: 'streaming' }
  | { readonly state: 'done' | 'length' | 'stopped'; readonly stats: AnswerStats | null }
  | { readonly state: 'failed'; readonly error: ErrorShape };

/** That an answer was moved to another device while it was made. */
export interface Move {
  readonly device: BrowserDevice | 'server';
  readonly restarted: boolean;
}

export interface Entry {
  readonly id: number;
  readonly role: Role;
  readonly content: Signal<string>;
  readonly status: Signal<EntryStatus>;
  readonly move: Signal<Move | null>;
}

/** Gives what answers; see Engine. */
export interface BackendSource {
  ready(): Promise<Backend>;
  fallBack(error: LocalphiError): Promise<boolean>;
}

export class Conversation {
  readonly #source: BackendSource;
  readonly #entries = signal<readonly Entry[]>([]);
  readonly #answering = signal<AbortController | null>(null);
  readonly #setAside = signal<readonly Entry[] | null>(null);
  #lastId = 0;

  readonly busy: ReadonlySignal<boolean> = computed(() => this.#answering.value !== null);
  /** Whether the chat that `newChat` put aside can be brought back. */
  readonly canUndo: ReadonlySignal<boolean> = computed(() => this.#setAside.value !== null);

  constructor(source: BackendSource) {
    this.#source = source;
  }

  get entries(): ReadonlySignal<readonly Entry[]> {
    return this.#entries;
  }

  /** Everything worth keeping. An answer in the making counts as stopped. */
  readonly snapshot: ReadonlySignal<readonly StoredEntry[]> = computed(() =>
    this.#entries.value.map(toStored),
  );

  restore(stored: readonly StoredEntry[]): void {
    this.#entries.value = stored.map((entry) => this.#fromStored(entry));
  }

  /**
   * Ask. Returns false, and keeps nothing, for blank text or while an answer is in the making.
   * From the second question on, the chat that `newChat` put aside is given up.
   */
  send(text: string): boolean {
    if (text.trim() === '' || this.busy.value) return false;
    if (this.#entries.value.length > 0) this.forget();
    const question = this.#entry('user', text.trim(), { state: 'done', stats: null });
    this.#answerAfter([...this.#entries.value, question]);
    return true;
  }

  /** Answer the last question again. No-op while an answer is in the making. */
  retry(): void {
    const last = this.#entries.value.findLastIndex(({ role }) => role === 'user');
    if (last >= 0 && !this.busy.value) this.#answerAfter(this.#entries.value.slice(0, last + 1));
  }

  /** End the answer in the making, and keep what there is of it. */
  stop(): void {
    this.#answering.value?.abort();
  }

  /** Start from nothing; the old chat can be brought back with `undo` until `forget`. */
  newChat(): void {
    if (this.#entries.value.length === 0) return;
    this.#abandon();
    batch(() => {
      this.#setAside.value = this.#entries.value;
      this.#entries.value = [];
    });
  }

  undo(): void {
    const before = this.#setAside.value;
    if (!before) return;
    this.#abandon();
    batch(() => {
      this.#entries.value = before;
      this.#setAside.value = null;
    });
  }

  /** Give up the chat that `newChat` put aside. */
  forget(): void {
    this.#setAside.value = null;
  }

  /** Stop, without waiting for the answer to end before another may begin. */
  #abandon(): void {
    this.stop();
    this.#answering.value = null;
  }

  #answerAfter(asked: readonly Entry[]): void {
    const answer = this.#entry('assistant', '', { state: 'waiting', readShare: 0 });
    const controller = new AbortController();
    batch(() => {
      this.#entries.value = [...asked, answer];
      this.#answering.value = controller;
    });
    void this.#answer(answer, toMessages(asked), controller.signal).finally(() => {
      if (this.#answering.value === controller) this.#answering.value = null;
    });
  }

  /** Never rejects: what goes wrong is shown in the answer's place. */
  async #answer(answer: Entry, messages: readonly Message[], signal: AbortSignal): Promise<void> {
    try {
      const end = await this.#stream(answer, messages, signal);
      const state = end.reason === 'stop' ? 'done' : end.reason === 'length' ? 'length' : 'stopped';
      answer.status.value = { state, stats: end.stats };
    } catch (error) {
      answer.status.value = signal.aborted
        ? { state: 'stopped', stats: null }
        : { state: 'failed', error: toShape(error, 'worker') };
    }
  }

  /** Streams from the backend at hand; when the browser's devices give up, again from the server. */
  async #stream(
    answer: Entry,
    messages: readonly Message[],
    signal: AbortSignal,
  ): Promise<AnswerEnd> {
    const backend = await untilAborted(this.#source.ready(), signal);
    try {
      return await backend.chat(messages, {}, handlersFor(answer), { signal });
    } catch (error) {
      const shape = fromShape(toShape(error, 'worker'));
      if (signal.aborted || !(await this.#source.fallBack(shape))) throw error;
    }
    batch(() => {
      answer.content.value = '';
      answer.status.value = { state: 'waiting', readShare: 0 };
      answer.move.value = { device: 'server', restarted: true };
    });
    const server = await this.#source.ready();
    return server.chat(messages, {}, handlersFor(answer), { signal });
  }

  #entry(role: Role, content: string, status: EntryStatus): Entry {
    return {
      id: ++this.#lastId,
      role,
      content: signal(content),
      status: signal(status),
      move: signal(null),
    };
  }

  #fromStored({ role, content, state, stats, error }: StoredEntry): Entry {
    const failed = state === 'failed' && error;
    return this.#entry(role, content, failed ? { state, error } : restored(state, stats));
  }
}

function restored(state: StoredEntry['state'], stats: AnswerStats | null): EntryStatus {
  return { state: state === 'failed' ? 'stopped' : state, stats };
}

function toStored({ role, content, status }: Entry): StoredEntry {
  const common = { role, content: content.value, stats: null, error: null };
  const now = status.value;
  switch (now.state) {
    case 'waiting':
    case 'streaming':
      return { ...common, state: 'stopped' };
    case 'failed':
      return { ...common, state: 'failed', error: now.error };
    case 'done':
    case 'length':
    case 'stopped':
      return { ...common, state: now.state, stats: now.stats };
    default:
      return now satisfies never;
  }
}

/** What the model gets: no answers that never came, and no questions that did not fit. */
function toMessages(entries: readonly Entry[]): readonly Message[] {
  return entries
    .filter((entry, i) => entry.content.value !== '' && !didNotFit(entries[i + 1]))
    .map(({ role, content }) => ({ role, content: content.value }));
}

function didNotFit(answer: Entry | undefined): boolean {
  const now = answer?.status.value;
  return now?.state === 'failed' && now.error.kind === 'context';
}

function handlersFor(answer: Entry) {
  return {
    onReading: (doneTokens: number, totalTokens: number) => {
      if (answer.status.value.state !== 'waiting') return;
      answer.status.value = { state: 'waiting', readShare: doneTokens / totalTokens };
    },
    onText: (text: string) => {
      batch(() => {
        answer.content.value += text;
        if (answer.status.value.state === 'waiting') answer.status.value = { state: 'streaming' };
      });
    },
    onMoved: (device: BrowserDevice) => {
      answer.move.value = { device, restarted: false };
    },
  };
}

/** The promise's value; rejects at once when the signal is aborted first. */
async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => {
      reject(new DOMException('stopped', 'AbortError'));
    });
  });
  return Promise.race([promise, aborted]);
}
