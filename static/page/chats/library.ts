/** All chats: the list of them, the one that is open, and those that still get an answer. */
import { batch, computed, effect, signal } from '@preact/signals';
import type { ReadonlySignal, Signal } from '@preact/signals';

import { Conversation } from '../conversation';
import type { AnswerSettings } from '../conversation';
import type { BackendSource } from '../steady-answer';
import type { History } from '../history';
import { newId } from '../new-id';
import { Throttle } from '../throttle';
import type { Channel } from './channel';
import { forgetDraft } from './drafts';
import { inListOrder, titleOf } from './record';
import type { ChatInfo, ChatRecord, Chosen, StoredMessage } from './record';

const SAVE_INTERVAL_MS = 250;

/** Other tabs write as often as tokens arrive; reading the list that often would be waste. */
const REFRESH_INTERVAL_MS = 500;

/** A conversation in this tab's memory, and what keeps it. */
interface Live {
  readonly conversation: Conversation;
  /** Begin to save what still waits. */
  readonly flush: () => void;
  /** Take over what the history has by now, and do not write it back. */
  readonly merge: (messages: readonly StoredMessage[]) => void;
  readonly dispose: () => void;
}

export class Library {
  readonly #source: BackendSource;
  readonly #settings: () => AnswerSettings;
  readonly #history: History;
  readonly #channel: Channel;
  readonly #infos = signal<ReadonlyMap<string, ChatInfo>>(new Map());
  readonly #live = signal<ReadonlyMap<string, Live>>(new Map());
  readonly #current: Signal<Conversation>;
  readonly #refresh = new Throttle<null>(() => this.#reload(), REFRESH_INTERVAL_MS);
  /** The last chat that was asked for; a slower read of an earlier one must not replace it. */
  #opening = '';

  /** In list order; a chat is in it from its first question on. */
  readonly chats: ReadonlySignal<readonly ChatInfo[]> = computed(() =>
    inListOrder(this.#infos.value.values()),
  );
  /** Ids of the chats that are being answered in this tab. */
  readonly busyIds: ReadonlySignal<ReadonlySet<string>> = computed(() => {
    const busy = [...this.#live.value.values()].filter(
      ({ conversation }) => conversation.busy.value,
    );
    return new Set(busy.map(({ conversation }) => conversation.id));
  });

  constructor(
    source: BackendSource,
    settings: () => AnswerSettings,
    history: History,
    channel: Channel,
  ) {
    this.#source = source;
    this.#settings = settings;
    this.#history = history;
    this.#channel = channel;
    this.#current = signal(this.#enliven(newId(), [], {}).conversation);
    channel.listen((notice) => {
      if (notice.type === 'removed') this.#dropped(notice.chatId);
      this.#refresh.push(null);
    });
  }

  get current(): ReadonlySignal<Conversation> {
    return this.#current;
  }

  /** Whether chats outlive this visit. */
  get lasting(): boolean {
    return this.#history.lasting;
  }

  /** Read the list. */
  async load(): Promise<void> {
    await this.#reload();
  }

  /** Go to an empty chat. An answer in the making goes on in its own. */
  newChat(): void {
    this.#opening = '';
    const current = this.#live.peek().get(this.#current.peek().id);
    if (current?.conversation.messages.peek().length === 0) return;
    this.#enter(this.#enliven(newId(), [], {}));
  }

  /** Go to a chat of the list. False when it is not there (any more). */
  async open(chatId: string): Promise<boolean> {
    this.#opening = chatId;
    if (this.#current.peek().id === chatId) return true;
    const live = this.#live.peek().get(chatId);
    if (live) {
      this.#enter(live);
      return true;
    }
    const info = this.#infos.peek().get(chatId);
    if (!info) return false;
    const messages = await this.#history.messages(chatId);
    if (this.#opening === chatId) this.#enter(this.#enliven(chatId, messages, info.chosen));
    return true;
  }

  rename(chatId: string, title: string): void {
    const short = titleOf(title);
    if (short !== '') this.#change(chatId, { title: short });
  }

  pin(chatId: string, pinned: boolean): void {
    this.#change(chatId, { pinned });
  }

  /** Delete a chat. Gives what `add` brings it back with, or null when it is not there. */
  async remove(chatId: string): Promise<ChatRecord | null> {
    const record = await this.record(chatId);
    if (!record) return null;
    this.#dropped(chatId);
    await this.#history.remove(chatId);
    this.#channel.send({ type: 'removed', chatId });
    return record;
  }

  /**
   * Put chats into the list. Where a chat is there already, only messages it lacks are added.
   * Gives the number of chats that were not there before.
   */
  async add(records: readonly ChatRecord[]): Promise<number> {
    let added = 0;
    for (const { info, messages } of records) {
      const here = this.#infos.peek().get(info.id);
      if (!here) added++;
      const known = new Set((await this.#history.messages(info.id)).map(({ id }) => id));
      const lacking = messages.filter(({ id }) => !known.has(id));
      await this.#history.save(here ?? info, lacking);
      this.#channel.send({ type: 'changed', chatId: info.id });
    }
    await this.#reload();
    return added;
  }

  /** A chat as it is now, or null when it is not in the list. */
  async record(chatId: string): Promise<ChatRecord | null> {
    const info = this.#infos.peek().get(chatId);
    if (!info) return null;
    const live = this.#live.peek().get(chatId);
    const messages = live
      ? live.conversation.messages.peek()
      : await this.#history.messages(chatId);
    return { info, messages };
  }

  /** All chats as they are now, in list order. */
  async records(): Promise<readonly ChatRecord[]> {
    const records = await Promise.all(this.chats.peek().map(({ id }) => this.record(id)));
    return records.filter((record) => record !== null);
  }

  find(query: string): Promise<ReadonlySet<string>> {
    return this.#history.find(query);
  }

  /** End every answer in the making. */
  stopAll(): void {
    for (const { conversation } of this.#live.peek().values()) conversation.stop();
  }

  /** Begin to save whatever is not saved yet; for when the page is left. */
  flush(): void {
    for (const { flush } of this.#live.peek().values()) flush();
  }

  /** Makes it the open one; the one that was open leaves memory, unless it gets an answer. */
  #enter(live: Live): void {
    const before = this.#live.peek().get(this.#current.peek().id);
    batch(() => {
      this.#current.value = live.conversation;
      if (before && before !== live && !before.conversation.busy.peek()) this.#release(before);
    });
  }

  #release(live: Live): void {
    live.flush();
    live.dispose();
    const rest = new Map(this.#live.peek());
    rest.delete(live.conversation.id);
    this.#live.value = rest;
  }

  #enliven(chatId: string, messages: readonly StoredMessage[], chosen: Chosen): Live {
    const conversation = new Conversation(this.#source, chatId, this.#settings);
    conversation.restore(messages, chosen);
    const live = this.#keep(conversation);
    this.#live.value = new Map(this.#live.peek()).set(chatId, live);
    return live;
  }

  /** Saves as tokens arrive, and at once when an answer ends. */
  #keep(conversation: Conversation): Live {
    /** What is in the history, by message id. */
    const kept = new Map(conversation.messages.peek().map((message) => [message.id, message]));
    let infoChanged = false;
    const save = async (messages: readonly StoredMessage[]) => {
      const changed = messages.filter((message) => kept.get(message.id) !== message);
      const info = this.#infos.peek().get(conversation.id);
      if (!info || (changed.length === 0 && !infoChanged)) return;
      for (const message of changed) kept.set(message.id, message);
      infoChanged = false;
      try {
        await this.#history.save(info, changed);
        this.#channel.send({ type: 'changed', chatId: conversation.id });
      } catch (error) {
        for (const { id } of changed) kept.delete(id);
        throw error;
      }
    };
    const throttle = new Throttle(save, SAVE_INTERVAL_MS);
    const now = () => [conversation.messages.peek(), conversation.chosen.peek()] as const;
    let seen = now();
    const stopSaving = effect(() => {
      const messages = conversation.messages.value;
      const chosen = conversation.chosen.value;
      if (messages === seen[0] && chosen === seen[1]) return;
      seen = [messages, chosen];
      if (this.#note(conversation.id, messages, chosen)) infoChanged = true;
      throttle.push(messages);
    });
    const stopWatching = effect(() => {
      if (conversation.busy.value) return;
      throttle.flush();
      const live = this.#live.peek().get(conversation.id);
      if (live && this.#current.peek() !== conversation) this.#release(live);
    });
    return {
      conversation,
      flush: () => {
        throttle.flush();
      },
      merge: (messages) => {
        batch(() => {
          conversation.restore(messages, conversation.chosen.peek());
          const ids = new Set(messages.map(({ id }) => id));
          seen = now();
          for (const message of seen[0]) if (ids.has(message.id)) kept.set(message.id, message);
        });
      },
      dispose: () => {
        stopSaving();
        stopWatching();
      },
    };
  }

  /** Brings the list up to what a conversation has become. False when it was already. */
  #note(chatId: string, messages: readonly StoredMessage[], chosen: Chosen): boolean {
    const askedMs = messages.reduce((latest, { madeMs }) => Math.max(latest, madeMs), 0);
    const old = this.#infos.peek().get(chatId);
    if (old?.askedMs === askedMs && old.chosen === chosen) return false;
    const fresh = {
      id: chatId,
      title: titleOf(messages[0]!.content),
      pinned: false,
      madeMs: askedMs,
    };
    this.#show({ ...(old ?? fresh), askedMs, chosen });
    return true;
  }

  #change(chatId: string, changes: Partial<ChatInfo>): void {
    const info = this.#infos.peek().get(chatId);
    if (!info) return;
    const changed = { ...info, ...changes };
    this.#show(changed);
    void this.#history
      .save(changed, [])
      .then(() => {
        this.#channel.send({ type: 'changed', chatId });
      })
      .catch(() => {});
  }

  #show(info: ChatInfo): void {
    this.#infos.value = new Map(this.#infos.peek()).set(info.id, info);
  }

  /** Takes a deleted chat from the list and from memory. */
  #dropped(chatId: string): void {
    batch(() => {
      const infos = new Map(this.#infos.peek());
      infos.delete(chatId);
      this.#infos.value = infos;
      forgetDraft(chatId);
      const live = this.#live.peek().get(chatId);
      if (!live) return;
      live.dispose(); // before stopping, so that nothing is written back
      live.conversation.stop();
      const rest = new Map(this.#live.peek());
      rest.delete(chatId);
      this.#live.value = rest;
      if (this.#current.peek() === live.conversation) this.newChat();
    });
  }

  /** Reads the list again, and what other tabs have said in the open chat. */
  async #reload(): Promise<void> {
    this.flush();
    const chats = await this.#history.chats();
    this.#infos.value = new Map([
      ...chats.map((info) => [info.id, info] as const),
      ...this.#newer(chats),
    ]);
    const live = this.#live.peek().get(this.#current.peek().id);
    if (!live || !this.#infos.peek().has(live.conversation.id)) return;
    const messages = await this.#history.messages(live.conversation.id);
    if (!live.conversation.busy.peek()) live.merge(messages);
  }

  /** What this tab has said since the list was read. */
  #newer(chats: readonly ChatInfo[]): readonly (readonly [string, ChatInfo])[] {
    const read = new Map(chats.map(({ id, askedMs }) => [id, askedMs]));
    const here = [...this.#live.peek().keys()].map((id) => this.#infos.peek().get(id));
    return here
      .filter((info) => info !== undefined)
      .filter(({ id, askedMs }) => askedMs > (read.get(id) ?? 0))
      .map((info) => [info.id, info] as const);
  }
}
