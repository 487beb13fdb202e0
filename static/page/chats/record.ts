/** A chat as it is kept: what the list needs, and its messages one by one. */
import { splitAttachments } from '../attachments';
import type { ErrorShape } from '../../shared/errors';
import type { AnswerStats, Role } from '../../shared/protocol';
import type { StoredRun } from '../tools/run';

export const STORED_STATES = ['done', 'stopped', 'length', 'failed'] as const;

export type StoredState = (typeof STORED_STATES)[number];

/** One message. Messages with the same parent are alternatives of each other. */
export interface StoredMessage {
  readonly chatId: string;
  /** Unique everywhere, so that what two tabs write never meets. */
  readonly id: string;
  /** What it follows; null for a first question. */
  readonly parentId: string | null;
  readonly role: Role;
  readonly content: string;
  /** Tools that were called for an answer; missing where there were none. */
  readonly runs?: readonly StoredRun[];
  readonly state: StoredState;
  readonly stats: AnswerStats | null;
  readonly error: ErrorShape | null;
  /** Milliseconds since 1970, as all times here. */
  readonly madeMs: number;
}

/** Which alternative is shown after a message; the key for first questions is the empty text. */
export type Chosen = Readonly<Record<string, string>>;

export interface ChatInfo {
  readonly id: string;
  readonly title: string;
  readonly pinned: boolean;
  readonly madeMs: number;
  /** When something was last asked in it. */
  readonly askedMs: number;
  readonly chosen: Chosen;
}

/** A chat whole, as it is exported and brought back. */
export interface ChatRecord {
  readonly info: ChatInfo;
  readonly messages: readonly StoredMessage[];
}

const TITLE_CHARS = 60;

/** A title made of the first words of a question, without Markdown's marks before them and its files. */
export function titleOf(content: string): string {
  const { question, attachments } = splitAttachments(content);
  const line = (question.trim() || (attachments[0]?.name ?? ''))
    .replace(/^[\s#>]+/, '')
    .trim()
    .replace(/\s+/g, ' ');
  if (line.length <= TITLE_CHARS) return line;
  const cut = line.slice(0, TITLE_CHARS - 1);
  const space = cut.lastIndexOf(' ');
  return `${(space > TITLE_CHARS / 2 ? cut.slice(0, space) : cut).trimEnd()}…`;
}

/** Pinned chats first, then those that were asked last. */
export function inListOrder(chats: Iterable<ChatInfo>): readonly ChatInfo[] {
  return [...chats].sort(
    (a, b) =>
      Number(b.pinned) - Number(a.pinned) || b.askedMs - a.askedMs || (a.id < b.id ? -1 : 1),
  );
}

/**
 * Ids of the chats that have every word of the query in the title or in a message, whatever the
 * case. A blank query finds all.
 */
export function find(
  query: string,
  chats: Iterable<ChatInfo>,
  messages: Iterable<StoredMessage>,
): ReadonlySet<string> {
  const words = [...new Set(query.toLowerCase().split(/\s+/))].filter((word) => word !== '');
  const missing = new Map<string, Set<string>>();
  const strike = (chatId: string, text: string) => {
    const left = missing.get(chatId);
    if (!left || left.size === 0) return;
    const lower = text.toLowerCase();
    for (const word of left) if (lower.includes(word)) left.delete(word);
  };
  for (const { id, title } of chats) {
    missing.set(id, new Set(words));
    strike(id, title);
  }
  for (const { chatId, content } of messages) strike(chatId, content);
  return new Set([...missing].filter(([, left]) => left.size === 0).map(([id]) => id));
}

export type ChatGroup = 'pinned' | 'today' | 'week' | 'older';

const DAY_MS = 24 * 60 * 60 * 1000;

/** Chats that are in list order, under their headings. */
export function inGroups(
  chats: readonly ChatInfo[],
  nowMs: number,
): ReadonlyMap<ChatGroup, readonly ChatInfo[]> {
  const groups = new Map<ChatGroup, ChatInfo[]>();
  for (const info of chats) {
    const group = groupOf(info, nowMs);
    groups.set(group, [...(groups.get(group) ?? []), info]);
  }
  return groups;
}

/** Under which heading of the list the chat stands. Days begin at midnight where the browser is. */
export function groupOf({ pinned, askedMs }: ChatInfo, nowMs: number): ChatGroup {
  if (pinned) return 'pinned';
  const midnightMs = new Date(nowMs).setHours(0, 0, 0, 0);
  if (askedMs >= midnightMs) return 'today';
  return askedMs >= midnightMs - 6 * DAY_MS ? 'week' : 'older';
}
