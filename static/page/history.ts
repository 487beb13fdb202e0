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
  /** Empty when nothing was kept. */
  load(): Promise<readonly StoredEntry[]>;
  save(entries: readonly StoredEntry[]): Promise<void>;
}

const DATABASE = 'localphi';
const KEY = 'current';

interface Schema extends DBSchema {
  conversations: { key: string; value: readonly StoredEntry[] };
}

/** IndexedDB, or where the browser refuses it, nothing that lasts. */
export async function openHistory(): Promise<History> {
  try {
    const database = await openDB<Schema>(DATABASE, 1, {
      upgrade: (created) => {
        created.createObjectStore('conversations');
      },
    });
    return {
      load: async () => (await database.get('conversations', KEY)) ?? [],
      save: async (entries) => {
        await database.put('conversations', entries, KEY);
      },
    };
  } catch {
    return { load: () => Promise.resolve([]), save: () => Promise.resolve() };
  }
}

/**
 * Calls `save` now if the last call is long enough ago, else later with the latest value; never
 * twice at a time. A save that fails is dropped: the next one holds everything again.
 */
export class Throttle<T> {
  readonly #save: (value: T) => Promise<void>;
  readonly #intervalMs: number;
  #pending: { readonly value: T } | null = null;
  #running = false;

  constructor(save: (value: T) => Promise<void>, intervalMs: number) {
    this.#save = save;
    this.#intervalMs = intervalMs;
  }

  push(value: T): void {
    this.#pending = { value };
    if (!this.#running) void this.#drain();
  }

  async #drain(): Promise<void> {
    this.#running = true;
    while (this.#pending) {
      const { value } = this.#pending;
      this.#pending = null;
      await this.#save(value).catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, this.#intervalMs));
    }
    this.#running = false;
  }
}
