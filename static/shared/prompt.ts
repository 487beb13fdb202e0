import type { Message } from './protocol';
import { escapeRegExp } from './regexp';

/** What goes around each turn, as data from localphi.json. */
export interface PromptFormat {
  readonly prefix: string;
  readonly roles: ReadonlyMap<string, readonly [before: string, after: string]>;
  /** Opens the answer. */
  readonly generation: string;
  /** Tokens that end the answer. */
  readonly end: readonly string[];
  /** Tokens that nobody may type: see `neutralise`. */
  readonly control: readonly string[];
}

const ZERO_WIDTH_SPACE = '\u200b';

/** The prompt string for a conversation, ready to encode without special tokens. */
export function render(
  format: PromptFormat,
  messages: readonly Message[],
  systemPrompt: string | null,
): string {
  const turns = withSystemPrompt(messages, systemPrompt).map(({ role, content }) => {
    const [before, after] = around(format, role);
    return before + neutralise(content, format.control) + after;
  });
  return format.prefix + turns.join('') + format.generation;
}

/**
 * The text with a zero-width space inside every control token in it, so that what a person types can
 * never become a turn marker. NUL is dropped, because tokenizers in C end the text there; half a
 * surrogate pair, which is no character, becomes U+FFFD.
 */
export function neutralise(text: string, control: readonly string[]): string {
  const clean = text.replaceAll('\0', '').toWellFormed();
  if (control.length === 0) return clean;
  const starts = new RegExp(`(?=${control.map(escapeRegExp).join('|')}).`, 'gsu');
  return clean.replace(starts, `$&${ZERO_WIDTH_SPACE}`);
}

function withSystemPrompt(messages: readonly Message[], systemPrompt: string | null) {
  if (systemPrompt === null || messages.some(({ role }) => role === 'system')) return messages;
  return [{ role: 'system', content: systemPrompt } as const, ...messages];
}

function around(format: PromptFormat, role: string): readonly [string, string] {
  const pair = format.roles.get(role);
  if (!pair) throw new RangeError(`the model's prompt format has no role ${JSON.stringify(role)}`);
  return pair;
}
