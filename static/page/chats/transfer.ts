/** Chats as files: JSON to bring them back, Markdown to read. */
import { LocalphiError, messageOf } from '../../shared/errors';
import type { ErrorShape } from '../../shared/errors';
import { asArray, asNumber, asObject, asString } from '../../shared/json';
import type { JsonObject } from '../../shared/json';
import type { AnswerStats, Role } from '../../shared/protocol';
import { RUN_STATES } from '../tools/run';
import type { StoredRun } from '../tools/run';
import { Branches } from './branches';
import { STORED_STATES } from './record';
import type { ChatInfo, ChatRecord, Chosen, StoredMessage, StoredState } from './record';

const FORMAT = 'localphi-chats';
const VERSION = 1;

/** Roles that a chat's messages have; the system's words are a setting. */
const ROLES: readonly string[] = ['user', 'assistant'] satisfies Role[];

/** Why a file cannot be imported. `message` says where it is wrong, what was wanted and what came. */
export class ImportError extends Error {
  override readonly name = 'ImportError';
}

/** A file that `parseChats` reads back. */
export function toJson(records: readonly ChatRecord[]): string {
  const chats = records.map(({ info, messages }) => ({
    ...info,
    messages: messages.map(
      ({ id, parentId, role, content, runs, state, stats, error, madeMs }) => ({
        ...{ id, parentId, role, content, runs, state, stats, error, madeMs },
      }),
    ),
  }));
  return `${JSON.stringify({ format: FORMAT, version: VERSION, chats }, null, 1)}\n`;
}

/** The chats of a file. Throws an ImportError, and then nothing of the file is to be used. */
export function parseChats(text: string): readonly ChatRecord[] {
  const file = parse(text);
  try {
    const { format, version, chats } = asObject(file, 'the file');
    if (format !== FORMAT) throw wrong('format', `"${FORMAT}"`, format);
    if (version !== VERSION) throw wrong('version', String(VERSION), version);
    return asArray(chats, 'chats').map((chat, i) => {
      const where = `chats[${i}]`;
      return parseChat(asObject(chat, where), where);
    });
  } catch (error) {
    if (error instanceof LocalphiError) throw new ImportError(error.message, { cause: error });
    throw error;
  }
}

/** The shown way through a chat. names: what to call who speaks. */
export function toMarkdown(
  { info, messages }: ChatRecord,
  names: Readonly<Record<'user' | 'assistant', string>>,
): string {
  const path = new Branches(byTime(messages), info.chosen).path();
  const parts = path.map(({ role, content }) => {
    const name = role === 'user' ? names.user : names.assistant;
    return `## ${name}\n\n${content.trim()}\n`;
  });
  return [`# ${info.title}\n`, ...parts].join('\n');
}

/** A name for a chat's file, without what file systems or shells would stumble over. */
export function fileNameOf(title: string): string {
  const words = title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '-');
  return words.replace(/^-+|-+$/g, '').slice(0, 50) || 'chat';
}

function byTime(messages: readonly StoredMessage[]): readonly StoredMessage[] {
  return [...messages].sort((a, b) => a.madeMs - b.madeMs);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ImportError(`the file is not JSON: ${messageOf(error)}`, { cause: error });
  }
}

function parseChat(chat: JsonObject, where: string): ChatRecord {
  const id = asId(chat['id'], `${where}.id`);
  const messages = asArray(chat['messages'], `${where}.messages`).map((message, i) => {
    const place = `${where}.messages[${i}]`;
    return parseMessage(asObject(message, place), id, place);
  });
  if (messages.length === 0) throw wrong(`${where}.messages`, 'at least one message', []);
  checkParents(messages, where);
  const info: ChatInfo = {
    id,
    title: asString(chat['title'], `${where}.title`),
    pinned: chat['pinned'] === true,
    madeMs: asNumber(chat['madeMs'], `${where}.madeMs`),
    askedMs: asNumber(chat['askedMs'], `${where}.askedMs`),
    chosen: parseChosen(chat['chosen'], `${where}.chosen`),
  };
  return { info, messages };
}

function parseMessage(message: JsonObject, chatId: string, where: string): StoredMessage {
  const { parentId, role, state } = message;
  if (!ROLES.includes(role as string)) throw wrong(`${where}.role`, oneOf(ROLES), role);
  if (!(STORED_STATES as readonly unknown[]).includes(state)) {
    throw wrong(`${where}.state`, oneOf(STORED_STATES), state);
  }
  return {
    chatId,
    id: asId(message['id'], `${where}.id`),
    parentId: parentId === null ? null : asId(parentId, `${where}.parentId`),
    role: role as Role,
    content: asString(message['content'], `${where}.content`),
    ...parseRuns(message['runs'], `${where}.runs`),
    state: state as StoredState,
    stats: parseStats(message['stats'], `${where}.stats`),
    error: parseError(message['error'], `${where}.error`),
    madeMs: asNumber(message['madeMs'], `${where}.madeMs`),
  };
}

function parseRuns(value: unknown, where: string): Pick<StoredMessage, 'runs'> {
  if (value === null || value === undefined) return {};
  const runs = asArray(value, where).map((item, i): StoredRun => {
    const place = `${where}[${i}]`;
    const { name, arguments: given, state, result } = asObject(item, place);
    const known = RUN_STATES.find((one) => one === state);
    if (!known) throw wrong(`${place}.state`, oneOf(RUN_STATES), state);
    return {
      name: asString(name, `${place}.name`),
      arguments: asString(given, `${place}.arguments`),
      ...{ state: known, result: asString(result, `${place}.result`) },
    };
  });
  return { runs };
}

/** Every message follows an earlier one of the other role, so that all can be reached. */
function checkParents(messages: readonly StoredMessage[], where: string): void {
  const known = new Map<string, StoredMessage>();
  for (const [i, message] of messages.entries()) {
    const place = `${where}.messages[${i}]`;
    if (known.has(message.id)) throw wrong(`${place}.id`, 'an id of its own', message.id);
    known.set(message.id, message);
    const parent = message.parentId === null ? null : known.get(message.parentId);
    if (parent === undefined || parent === message) {
      throw wrong(`${place}.parentId`, 'the id of an earlier message', message.parentId);
    }
    const expected = parent?.role === 'user' ? 'assistant' : 'user';
    if (message.role !== expected) throw wrong(`${place}.role`, `"${expected}"`, message.role);
  }
}

function parseChosen(value: unknown, where: string): Chosen {
  const pairs = Object.entries(asObject(value ?? {}, where));
  return Object.fromEntries(pairs.map(([key, id]) => [key, asString(id, `${where}.${key}`)]));
}

const DEVICES: readonly string[] = [
  'webgpu',
  'webnn',
  'wasm',
  'server',
] satisfies AnswerStats['device'][];

function parseStats(value: unknown, where: string): AnswerStats | null {
  if (value === null || value === undefined) return null;
  const stats = asObject(value, where);
  const { device, tokensPerSecond } = stats;
  if (!DEVICES.includes(device as string)) throw wrong(`${where}.device`, oneOf(DEVICES), device);
  return {
    device: device as AnswerStats['device'],
    promptTokens: asNumber(stats['promptTokens'], `${where}.promptTokens`),
    cachedTokens: asNumber(stats['cachedTokens'] ?? 0, `${where}.cachedTokens`), // old files have none
    tokens: asNumber(stats['tokens'], `${where}.tokens`),
    firstTokenMs: asNumber(stats['firstTokenMs'], `${where}.firstTokenMs`),
    tokensPerSecond:
      tokensPerSecond === null ? null : asNumber(tokensPerSecond, `${where}.tokensPerSecond`),
  };
}

/** An error's kind is what the page has words for; one it has not is the server's. */
function parseError(value: unknown, where: string): ErrorShape | null {
  if (value === null || value === undefined) return null;
  const error = asObject(value, where);
  const kind = asString(error['kind'], `${where}.kind`);
  const message = asString(error['message'], `${where}.message`);
  return { kind: kind === 'context' ? 'context' : 'server', message };
}

function asId(value: unknown, where: string): string {
  const id = asString(value, where);
  if (id === '' || id.length > 100) throw wrong(where, 'an id of 1 to 100 characters', value);
  return id;
}

function oneOf(values: readonly string[]): string {
  return values.map((value) => `"${value}"`).join(' or ');
}

function wrong(where: string, wanted: string, came: unknown): ImportError {
  const shown = came === undefined ? 'missing' : JSON.stringify(came).slice(0, 60);
  return new ImportError(`${where} should be ${wanted}, but is ${shown}`);
}
