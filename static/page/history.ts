/** Where chats are kept from one visit to the next. */
import { openDB } from 'idb';
import type { DBSchema, IDBPDatabase, IDBPTransaction, StoreNames } from 'idb';

import { find, titleOf } from './chats/record';
import type { ChatInfo, ChatRecord, StoredMessage } from './chats/record';
import { newId } from './new-id';

/** Somewhere to keep chats. Messages are written one by one, so tabs do not undo each other. */
export interface History {
  /** False where the browser keeps nothing beyond this visit. */
  readonly lasting: boolean;
  chats(): Promise<readonly ChatInfo[]>;
  /** In no particular order; empty for a chat that is not kept. */
  messages(chatId: string): Promise<readonly StoredMessage[]>;
  /** Begins before this returns, so that it lasts even if the page is left at once. */
  save(info: ChatInfo, messages: readonly StoredMessage[]): Promise<void>;
  remove(chatId: string): Promise<void>;
  /** Ids of the chats that have every word of the query; see `find` in chats/record. */
  find(query: string): Promise<ReadonlySet<string>>;
}

const DATABASE = 'localphi';
const VERSION = 2;

/** The message of version 1, which kept one chat and nothing but its shown way. */
type OldMessage = Pick<StoredMessage, 'role' | 'content' | 'state' | 'stats' | 'error'>;

interface Schema extends DBSchema {
  /** Version 1. */
  conversations: { key: string; value: readonly OldMessage[] };
  chats: { key: string; value: ChatInfo };
  /** The key is chat and message, so a chat's messages lie next to each other. */
  messages: { key: [string, string]; value: StoredMessage };
}

/** Longer than any healthy database takes to open; a blocked one never answers. */
const OPEN_TIMEOUT_MS = 2000;

/** IndexedDB, or where the browser refuses it, is blocked or broken, the memory of this visit. */
export async function openHistory(): Promise<History> {
  const late = new Promise<History>((resolve) => {
    setTimeout(() => {
      resolve(new MemoryHistory());
    }, OPEN_TIMEOUT_MS);
  });
  return Promise.race([openDatabase().catch(() => new MemoryHistory()), late]);
}

/** Rejects when the database cannot be opened or read. */
async function openDatabase(): Promise<History> {
  const database = await openDB<Schema>(DATABASE, VERSION, {
    upgrade: (created, oldVersion, _, transaction) => {
      created.createObjectStore('chats', { keyPath: 'id' });
      created.createObjectStore('messages', { keyPath: ['chatId', 'id'] });
      if (oldVersion !== 1) return;
      moveOldChat(created, transaction).catch(() => {
        transaction.abort(); // version 1 stays as it is
      });
    },
    // A later version in another tab must not wait for this one.
    blocking: (_, __, event) => {
      (event.target as IDBDatabase).close();
    },
  });
  await database.count('chats');
  return new DatabaseHistory(database);
}

type Upgrade = IDBPTransaction<Schema, StoreNames<Schema>[], 'versionchange'>;

/** Version 1 kept one chat as one value; it becomes the first of many. */
async function moveOldChat(database: IDBPDatabase<Schema>, transaction: Upgrade): Promise<void> {
  const old = (await transaction.objectStore('conversations').get('current')) ?? [];
  const record = fromOldChat(old, Date.now());
  if (record) {
    await transaction.objectStore('chats').put(record.info);
    for (const message of record.messages) await transaction.objectStore('messages').put(message);
  }
  database.deleteObjectStore('conversations');
}

/** Null when nothing was said in it. */
function fromOldChat(old: readonly OldMessage[], nowMs: number): ChatRecord | null {
  if (old.length === 0) return null;
  const chatId = newId();
  let parentId: string | null = null;
  const messages = old.map((message, i): StoredMessage => {
    const id = newId();
    const moved = { ...message, chatId, id, parentId, madeMs: nowMs + i };
    parentId = id;
    return moved;
  });
  const title = titleOf(old[0]!.content);
  const times = { madeMs: nowMs, askedMs: nowMs };
  return { info: { id: chatId, title, pinned: false, ...times, chosen: {} }, messages };
}

class DatabaseHistory implements History {
  readonly lasting = true;
  readonly #database: IDBPDatabase<Schema>;

  constructor(database: IDBPDatabase<Schema>) {
    this.#database = database;
  }

  chats(): Promise<readonly ChatInfo[]> {
    return this.#database.getAll('chats');
  }

  messages(chatId: string): Promise<readonly StoredMessage[]> {
    return this.#database.getAll('messages', messagesOf(chatId));
  }

  async save(info: ChatInfo, messages: readonly StoredMessage[]): Promise<void> {
    const transaction = this.#database.transaction(['chats', 'messages'], 'readwrite');
    const puts = [
      transaction.objectStore('chats').put(info),
      ...messages.map((message) => transaction.objectStore('messages').put(message)),
    ];
    transaction.commit(); // lasts even if the page is left before the next event
    await Promise.all([...puts, transaction.done]);
  }

  async remove(chatId: string): Promise<void> {
    const transaction = this.#database.transaction(['chats', 'messages'], 'readwrite');
    await Promise.all([
      transaction.objectStore('chats').delete(chatId),
      transaction.objectStore('messages').delete(messagesOf(chatId)),
      transaction.done,
    ]);
  }

  async find(query: string): Promise<ReadonlySet<string>> {
    const [chats, messages] = await Promise.all([
      this.#database.getAll('chats'),
      this.#database.getAll('messages'),
    ]);
    return find(query, chats, messages);
  }
}

/** Keys of a chat's messages: arrays sort after all texts. */
function messagesOf(chatId: string): IDBKeyRange {
  return IDBKeyRange.bound([chatId], [chatId, []]);
}

/** Forgets everything when the page is left. */
export class MemoryHistory implements History {
  readonly lasting = false;
  readonly #chats = new Map<string, ChatInfo>();
  readonly #messages = new Map<string, StoredMessage>();

  chats(): Promise<readonly ChatInfo[]> {
    return Promise.resolve([...this.#chats.values()]);
  }

  messages(chatId: string): Promise<readonly StoredMessage[]> {
    const all = [...this.#messages.values()];
    return Promise.resolve(all.filter((message) => message.chatId === chatId));
  }

  save(info: ChatInfo, messages: readonly StoredMessage[]): Promise<void> {
    this.#chats.set(info.id, info);
    for (const message of messages) this.#messages.set(message.id, message);
    return Promise.resolve();
  }

  async remove(chatId: string): Promise<void> {
    this.#chats.delete(chatId);
    for (const { id } of await this.messages(chatId)) this.#messages.delete(id);
  }

  find(query: string): Promise<ReadonlySet<string>> {
    return Promise.resolve(find(query, this.#chats.values(), this.#messages.values()));
  }
}
