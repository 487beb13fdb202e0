/** One chat: what was said, with alternatives, and the one answer that may be in the making. */
import { batch, computed, signal } from '@preact/signals';
import type { ReadonlySignal, Signal } from '@preact/signals';

import { toShape } from '../shared/errors';
import type { ErrorShape } from '../shared/errors';
import type { AnswerStats, ChatOptions, Device, Message, Role } from '../shared/protocol';
import type { AnswerEnd, Backend } from './backend';
import { Branches } from './chats/branches';
import type { Chosen, StoredMessage, StoredState } from './chats/record';
import { newId } from './new-id';
import { steadyChat } from './steady-answer';
import type { BackendSource } from './steady-answer';
import { PAGE_TOOLS } from './tools/page-tools';
import { ToolRun } from './tools/run';
import type { PageTool } from './tools/tool';
import { ToolBackend, messagesOf } from './tools/tool-backend';

/** Where an entry stands. `waiting` is before the first piece of text. */
export type EntryStatus =
  | { readonly state: 'waiting'; readonly readShare: number }
  | { readonly state: 'streaming' }
  | { readonly state: 'done' | 'length' | 'stopped'; readonly stats: AnswerStats | null }
  | { readonly state: 'failed'; readonly error: ErrorShape };

/** That an answer was moved to another device while it was made. */
export interface Move {
  readonly device: Device;
  readonly restarted: boolean;
}

export interface Entry {
  readonly id: string;
  readonly parentId: string | null;
  readonly role: Role;
  readonly madeMs: number;
  readonly content: Signal<string>;
  readonly status: Signal<EntryStatus>;
  readonly move: Signal<Move | null>;
  /** Tools that the model has called for it, in order. */
  readonly runs: Signal<readonly ToolRun[]>;
  /** As it is kept; the same object until something changes. */
  readonly stored: ReadonlySignal<StoredMessage>;
}

/** How to answer, as it is set when a question is asked. */
export interface AnswerSettings {
  /** Said to the model before anything else; empty for the model's own. */
  readonly systemPrompt: string;
  readonly options: ChatOptions;
  /** Whether the model may ask for tools. */
  readonly tools?: boolean;
  /** Those that the server runs, beside the page's. */
  readonly serverTools?: () => Promise<readonly PageTool[]>;
}

const PLAIN: AnswerSettings = { systemPrompt: '', options: {} };

export class Conversation {
  readonly id: string;
  readonly #source: BackendSource;
  readonly #settings: () => AnswerSettings;
  readonly #branches = signal(new Branches<Entry>());
  readonly #answering = signal<AbortController | null>(null);

  readonly busy: ReadonlySignal<boolean> = computed(() => this.#answering.value !== null);
  /** The way through the chat that is shown. */
  readonly entries: ReadonlySignal<readonly Entry[]> = computed(() => this.#branches.value.path());
  readonly chosen: ReadonlySignal<Chosen> = computed(() => this.#branches.value.chosen);
  /** Everything worth keeping, alternatives too. An answer in the making counts as stopped. */
  readonly messages: ReadonlySignal<readonly StoredMessage[]> = computed(() =>
    this.#branches.value.nodes.map(({ stored }) => stored.value),
  );

  constructor(
    source: BackendSource,
    id: string = newId(),
    settings: () => AnswerSettings = () => PLAIN,
  ) {
    this.#source = source;
    this.id = id;
    this.#settings = settings;
  }

  /**
   * Take over what was kept, or what another tab has written since. Entries that are here and have
   * not changed stay; an answer in the making is left alone.
   */
  restore(messages: readonly StoredMessage[], chosen: Chosen): void {
    batch(() => {
      const { nodes } = this.#branches.peek();
      const known = new Map(nodes.map((entry) => [entry.id, entry]));
      for (const message of messages) {
        const entry = known.get(message.id);
        if (!entry) known.set(message.id, this.#fromStored(message));
        else if (!grows(entry)) update(entry, message);
      }
      if (known.size === nodes.length && chosen === this.chosen.peek()) return;
      const all = [...known.values()].sort((a, b) => a.madeMs - b.madeMs);
      this.#branches.value = new Branches(all, chosen);
    });
  }

  /** Ask. Returns false, and keeps nothing, for blank text or while an answer is in the making. */
  send(text: string): boolean {
    return this.#ask(text, this.entries.value.at(-1)?.id ?? null);
  }

  /** Ask otherwise: the old question stays as an alternative, with all that followed. As `send`. */
  edit(question: Entry, text: string): boolean {
    if (text.trim() === question.content.value) return false;
    return this.#ask(text, question.parentId);
  }

  /** Answer once more; the old answer stays as an alternative. No-op while busy. */
  regenerate(answer: Entry): void {
    if (!this.busy.value) this.#answerTo(answer.parentId);
  }

  /** Make an answer that failed again, in its place. No-op while busy. */
  retry(answer: Entry): void {
    if (!this.busy.value) this.#begin(answer);
  }

  /** All alternatives of the entry, itself among them, in the order they were made. */
  alternatives(entry: Entry): readonly Entry[] {
    return this.#branches.value.siblings(entry);
  }

  /** Show this alternative and what followed it. */
  show(entry: Entry): void {
    this.#branches.value = this.#branches.value.showing(entry);
  }

  /** End the answer in the making, and keep what there is of it. */
  stop(): void {
    this.#answering.value?.abort();
  }

  #ask(text: string, parentId: string | null): boolean {
    if (text.trim() === '' || this.busy.value) return false;
    batch(() => {
      const question = this.#add(parentId, 'user', text.trim(), { state: 'done', stats: null });
      this.#answerTo(question.id);
    });
    return true;
  }

  #answerTo(questionId: string | null): void {
    batch(() => {
      this.#begin(this.#add(questionId, 'assistant', '', { state: 'waiting', readShare: 0 }));
    });
  }

  #add(parentId: string | null, role: Role, content: string, status: EntryStatus): Entry {
    const entry = this.#entry(newId(), parentId, role, Date.now(), content, status);
    this.#branches.value = this.#branches.value.with(entry);
    return entry;
  }

  #begin(answer: Entry): void {
    const controller = new AbortController();
    const asked = this.#branches.value.pathTo(answer).slice(0, -1);
    batch(() => {
      startOver(answer, null);
      this.#answering.value = controller;
    });
    void this.#answer(answer, toMessages(asked), controller.signal).finally(() => {
      if (this.#answering.value === controller) this.#answering.value = null;
    });
  }

  /** Never rejects: what goes wrong is shown in the answer's place. */
  async #answer(answer: Entry, asked: readonly Message[], signal: AbortSignal): Promise<void> {
    try {
      const end = await this.#stream(answer, asked, signal);
      const state = end.reason === 'stop' ? 'done' : end.reason === 'length' ? 'length' : 'stopped';
      answer.status.value = { state, stats: end.stats };
    } catch (error) {
      answer.status.value = signal.aborted
        ? { state: 'stopped', stats: null }
        : { state: 'failed', error: toShape(error, 'worker') };
    }
  }

  async #stream(answer: Entry, asked: readonly Message[], signal: AbortSignal): Promise<AnswerEnd> {
    const { systemPrompt, options } = this.#settings();
    const messages: readonly Message[] =
      systemPrompt === '' ? asked : [{ role: 'system', content: systemPrompt }, ...asked];
    const steady: Backend = {
      chat: (...asked) => steadyChat(this.#source, ...asked),
    };
    const backend = await this.#withTools(steady, answer);
    return backend.chat(messages, options, handlersFor(answer), { signal });
  }

  async #withTools(backend: Backend, answer: Entry): Promise<Backend> {
    const { tools, serverTools } = this.#settings();
    if (!tools) return backend;
    const others = (await serverTools?.()) ?? [];
    return new ToolBackend(backend, [...PAGE_TOOLS, ...others], (run) => {
      answer.runs.value = [...answer.runs.value, run];
    });
  }

  #fromStored(message: StoredMessage): Entry {
    const { id, parentId, role, content, madeMs, runs = [] } = message;
    const entry = this.#entry(id, parentId, role, madeMs, content, statusOf(message));
    entry.runs.value = runs.map((run) => ToolRun.restored(run));
    return entry;
  }

  #entry(
    id: string,
    parentId: string | null,
    role: Role,
    madeMs: number,
    text: string,
    now: EntryStatus,
  ): Entry {
    const content = signal(text);
    const status = signal(now);
    const runs = signal<readonly ToolRun[]>([]);
    const stored = computed(() => ({
      ...{ chatId: this.id, id, parentId, role, madeMs },
      ...{ content: content.value, ...storedStatus(status.value) },
      ...storedRuns(runs.value),
    }));
    return { id, parentId, role, madeMs, content, status, runs, stored, move: signal(null) };
  }
}

/** Whether more text may come. */
export function grows({ status }: Entry): boolean {
  return status.value.state === 'waiting' || status.value.state === 'streaming';
}

function startOver(answer: Entry, move: Move | null): void {
  batch(() => {
    answer.content.value = '';
    answer.runs.value = [];
    answer.status.value = { state: 'waiting', readShare: 0 };
    answer.move.value = move;
  });
}

function update(entry: Entry, message: StoredMessage): void {
  const { content, state } = entry.stored.value;
  if (content === message.content && state === message.state) return;
  entry.content.value = message.content;
  entry.runs.value = (message.runs ?? []).map((run) => ToolRun.restored(run));
  entry.status.value = statusOf(message);
}

function statusOf({ state, stats, error }: StoredMessage): EntryStatus {
  if (state === 'failed') return error ? { state, error } : { state: 'stopped', stats };
  return { state, stats };
}

function storedStatus(now: EntryStatus): Pick<StoredMessage, 'state' | 'stats' | 'error'> {
  switch (now.state) {
    case 'waiting':
    case 'streaming':
      return { state: 'stopped', stats: null, error: null };
    case 'failed':
      return { state: 'failed', stats: null, error: now.error };
    case 'done':
    case 'length':
    case 'stopped':
      return { state: now.state satisfies StoredState, stats: now.stats, error: null };
    default:
      return now satisfies never;
  }
}

/** What the model gets: no answers that never came, and no questions that did not fit. */
function toMessages(entries: readonly Entry[]): readonly Message[] {
  return entries
    .filter((entry, i) => entry.content.value !== '' && !didNotFit(entries[i + 1]))
    .flatMap(({ role, content, stored }) =>
      role === 'assistant'
        ? messagesOf(content.value, stored.value.runs ?? [])
        : [{ role, content: content.value }],
    );
}

/** Those that were decided; none at all where there are none. */
function storedRuns(runs: readonly ToolRun[]): Pick<StoredMessage, 'runs'> {
  const decided = runs.map(({ stored }) => stored).filter((run) => run !== null);
  return decided.length > 0 ? { runs: decided } : {};
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
    onMoved: (device: Device) => {
      answer.move.value = { device, restarted: false };
    },
    onTakenBack: (characters: number) => {
      const { length } = answer.content.value;
      const { device } = answer.move.value ?? { device: 'server' };
      batch(() => {
        answer.content.value = answer.content.value.slice(0, length - characters);
        answer.move.value = { device, restarted: true };
      });
    },
  };
}
