/**
 * A conversation as the text a model was trained on. The server has the same function in `engine/prompt.py`,
 * where the forms are drawn; both pass `tests/vectors/prompt.json`.
 */
import type { JsonFormat, Message, Role, Tool, ToolCall } from './chat';
import { isJson, quote, respace } from './json-text';
import { escapeRegExp } from './regexp';

/** What goes around each turn, as data from localphi.json. */
export interface PromptFormat {
  readonly prefix: string;
  readonly roles: ReadonlyMap<string, Pair>;
  /** Opens the answer. */
  readonly generation: string;
  /** Tokens that end the answer. */
  readonly end: readonly string[];
  /** Tokens that nobody may type: see `neutralise`. */
  readonly control: readonly string[];
  /** Around the list of tools, and around a list of calls; null for a model without such tokens. */
  readonly tools: Pair | null;
  readonly toolCall: Pair | null;
  /** A system turn has no place of its own: it stands at the beginning of the next user turn. */
  readonly systemInUser?: boolean;
}

export type Pair = readonly [before: string, after: string];

export interface PromptExtras {
  readonly tools?: readonly Tool[];
  readonly answerFormat?: JsonFormat | null;
}

const ZERO_WIDTH_SPACE = '\u200b';
const TOOLS_LINE = 'Tools: ';
const CALLS_LINE =
  'To call tools, answer with nothing but a JSON list: [{"name": "…", "arguments": {…}}]';
const RESULT_LINE = 'Tool result: ';
const ANY_OBJECT_LINE = 'Answer with a JSON object.';
const SCHEMA_LINE = 'Answer with JSON that fits this schema: ';

/**
 * The prompt string for a conversation, ready to encode without special tokens.
 * Tools and the format of the answer stand in the first system turn; an empty one is made for them where
 * there is none. Throws RangeError for a role the model does not know.
 */
export function render(
  format: PromptFormat,
  turns: readonly Message[],
  systemPrompt: string | null,
  { tools = [], answerFormat = null }: PromptExtras = {},
): string {
  const all = withSystemTurn(turns, systemPrompt, tools.length > 0 || answerFormat !== null);
  const firstSystem = all.find(({ role }) => role === 'system');
  let calls: readonly ToolCall[] = [];
  const rendered: Rendered[] = [];
  for (const turn of resultsInOrder(all)) {
    if (turn === firstSystem) {
      rendered.push(['system', systemTurn(format, turn, tools, answerFormat)]);
    } else if (turn.role === 'tool') {
      const role = format.roles.has('tool') ? 'tool' : 'user';
      rendered.push([role, resultTurn(format, turn, calls)]);
    } else {
      rendered.push([turn.role, plainTurn(format, turn)]);
      calls = turn.toolCalls ?? [];
    }
  }
  const placed = format.systemInUser ? withSystemsInUsers(format, rendered) : rendered;
  return format.prefix + placed.map(([, text]) => text).join('') + format.generation;
}

type Rendered = readonly [role: Role, text: string];

/** The turns without those of the system: their text opens the user's next turn, or is one by itself. */
function withSystemsInUsers(format: PromptFormat, turns: readonly Rendered[]): readonly Rendered[] {
  const [opening, closing] = around(format, 'user');
  const empty = around(format, 'system').join('');
  const placed: Rendered[] = [];
  let held = '';
  for (const [role, text] of turns) {
    if (role === 'system') {
      if (text !== empty) held += text;
      continue;
    }
    if (role === 'user') placed.push([role, opening + held + text.slice(opening.length)]);
    else {
      if (held) placed.push(['user', opening + held + closing]);
      placed.push([role, text]);
    }
    held = '';
  }
  if (held) placed.push(['user', opening + held + closing]);
  return placed;
}

/**
 * The text with a zero-width space inside every control token in it, so that what a person types can
 * never become a turn marker. NUL is dropped, because tokenizers in C end the text there; half a
 * surrogate pair, which is no character, becomes U+FFFD.
 */
export function neutralise(text: string, control: readonly string[]): string {
  const clean = cleaned(text);
  if (control.length === 0) return clean;
  const starts = new RegExp(`(?=${control.map(escapeRegExp).join('|')}).`, 'gsu');
  return clean.replace(starts, `$&${ZERO_WIDTH_SPACE}`);
}

function cleaned(text: string): string {
  return text.replaceAll('\0', '').toWellFormed();
}

function withSystemTurn(
  turns: readonly Message[],
  systemPrompt: string | null,
  needed: boolean,
): readonly Message[] {
  if (turns.some(({ role }) => role === 'system')) return turns;
  if (systemPrompt === null && !needed) return turns;
  return [{ role: 'system', content: systemPrompt ?? '' }, ...turns];
}

function plainTurn(format: PromptFormat, turn: Message): string {
  const [before, after] = around(format, turn.role);
  let text = neutralise(turn.content, format.control);
  if (turn.toolCalls && turn.toolCalls.length > 0) {
    const [open, close] = format.toolCall ?? ['', ''];
    text += open + neutralise(callList(turn.toolCalls), format.control) + close;
  }
  return before + text + after;
}

function callList(calls: readonly ToolCall[]): string {
  const items = calls.map(
    (call) => `{"name": ${quote(cleaned(call.name))}, "arguments": ${respace(call.arguments)}}`,
  );
  return `[${items.join(', ')}]`;
}

function systemTurn(
  format: PromptFormat,
  turn: Message,
  tools: readonly Tool[],
  answerFormat: JsonFormat | null,
): string {
  const [before, after] = around(format, 'system');
  const lines = turn.content === '' ? [] : [turn.content];
  if (tools.length > 0 && !format.tools) lines.push(TOOLS_LINE + toolList(tools), CALLS_LINE);
  if (answerFormat) {
    const { schema } = answerFormat;
    lines.push(schema === null ? ANY_OBJECT_LINE : SCHEMA_LINE + respace(schema));
  }
  let text = neutralise(lines.join('\n'), format.control);
  if (tools.length > 0 && format.tools) {
    const [open, close] = format.tools;
    text += open + neutralise(toolList(tools), format.control) + close;
  }
  return before + text + after;
}

function toolList(tools: readonly Tool[]): string {
  const items = tools.map(({ name, description, parameters }) => {
    const about = description === '' ? '' : `"description": ${quote(cleaned(description))}, `;
    return `{"name": ${quote(cleaned(name))}, ${about}"parameters": ${respace(parameters)}}`;
  });
  return `[${items.join(', ')}]`;
}

/** The turns, each run of tool results in the order of the calls it answers. */
function resultsInOrder(turns: readonly Message[]): Message[] {
  const ordered: Message[] = [];
  let calls: readonly ToolCall[] = [];
  let results: Message[] = [];
  const place = ({ toolCallId }: Message) => {
    const index = calls.findIndex(({ id }) => id === toolCallId);
    return index < 0 ? calls.length : index;
  };
  const flush = () => {
    ordered.push(...results.toSorted((a, b) => place(a) - place(b)));
    results = [];
  };
  for (const turn of turns) {
    if (turn.role === 'tool') {
      results.push(turn);
      continue;
    }
    flush();
    calls = turn.toolCalls ?? [];
    ordered.push(turn);
  }
  flush();
  return ordered;
}

/** One result. It names its tool where the turn before called several, or where it looks like a user's. */
function resultTurn(format: PromptFormat, turn: Message, calls: readonly ToolCall[]): string {
  let content = cleaned(turn.content);
  const name = calls.find(({ id }) => id === turn.toolCallId)?.name;
  const pair = format.roles.get('tool');
  if (name !== undefined && (calls.length > 1 || !pair)) {
    const value = isJson(content) ? respace(content) : quote(content);
    content = `{"name": ${quote(cleaned(name))}, "content": ${value}}`;
  }
  if (!pair) return plainTurn(format, { role: 'user', content: RESULT_LINE + content });
  return pair[0] + neutralise(content, format.control) + pair[1];
}

function around(format: PromptFormat, role: string): Pair {
  const pair = format.roles.get(role);
  if (!pair) throw new RangeError(`the model's prompt format has no role ${JSON.stringify(role)}`);
  return pair;
}
