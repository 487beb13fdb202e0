/** The conversation as it is kept from one visit to the next. */
import { openDB } from 'idb';
import type { DBSchema } from 'idb';

import type { ErrorShape } from '../shared/errors';
import type { AnswerStats, Role } from '../shared/protocol';

export type StoredState = 'done' | 'stopped' | 'length' | 'failed';

export interface StoredEntry {
  readonly role: Role;
  readonly content: string;
  readonly state: StoredState;
  readonly stats: AnswerStats | null;
  readonly error: ErrorShape | null;
}

/** Somewhere to keep one conversation. */
export interface History {
  /** What was kept when the history was opened; empty when nothing was. */
  load(): Promise<readonly StoredEntry[]>;
  save(entries: readonly StoredEntry[]): Promise<void>;
}

const DATABASE = 'localphi';
const KEY = 'current';

interface Schema extends DBSchema {
  conversations: { key: string; value: readonly StoredEntry[] };
}

/** Longer than any healthy database takes to open; a blocked one never answers. */
const OPEN_TIMEOUT_MS = 2000;

const FORGETFUL: History = { load: () => Promise.resolve([]), save: () => Promise.resolve() };

/** IndexedDB, or where the browser refuses it, is blocked or broken, nothing that lasts. */
export async function openHistory(): Promise<History> {
  const late = new Promise<History>((resolve) => {
    setTimeout(resolve, OPEN_TIMEOUT_MS, FORGETFUL);
  });
  return Promise.race([openDatabase().catch(() => FORGETFUL), late]);
}

/** Rejects when the database cannot be opened or read. */
async function openDatabase(): Promise<History> {
  const database = await openDB<Schema>(DATABASE, 1, {
    upgrade: (created) => {
      created.createObjectStore('conversations');
    },
  });
  const kept = (await database.get('conversations', KEY)) ?? [];
  return {
    load: () => Promise.resolve(kept),
    save: async (entries) => {
      const transaction = database.transaction('conversations', 'readwrite');
      const put = transaction.store.put(entries, KEY);
      transaction.commit(); // lasts even if the page is left before the next event
      await Promise.all([put, transaction.done]);
    },
  };
}

/**
 * Calls `save` now if the last call is long enough ago, else later with the latest value.
 * Saves may overlap when flushed; they begin in the order of their values. One that fails is
 * dropped: the next one holds everything again.
 */
export class Throttle<T> {
  readonly #save: (value: T) => Promise<void>;
  readonly #intervalMs: number;
  #pending: { readonly value: T } | null = null;
  #resting = false;

  constructor(save: (value: T) => Promise<void>, intervalMs: number) {
    this.#save = save;
    this.#intervalMs = intervalMs;
  }

  push(value: T): void {
    this.#pending = { value };
    if (this.#resting) return;
    this.#resting = true;
    this.flush();
    setTimeout(() => {
      this.#resting = false;
      if (this.#pending) this.push(this.#pending.value);
    }, this.#intervalMs);
  }

  /** Begin to save what still waits, before this returns. */
  flush(): void {
    if (!this.#pending) return;
    const { value } = this.#pending;
    this.#pending = null;
    void this.#save(value).catch(() => {});
  }
}
