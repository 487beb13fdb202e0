/**
 * Patterns that begin by looking ahead: `^(?!A)(?=B)C$` is C, not A, and B at the same time. pydantic writes
 * such patterns for Decimal, zod for email addresses.
 */
import { plainCharacters } from './characters';
import type { CharacterMaker, Ranges } from './characters';
import type { Expression, Expressions } from './expression';
import { PatternError, expressionOf, isSingle, parsePattern } from './patterns';

/** An escape, a class of characters, or one. */
const TOKEN = /\\.|\[(?:\\.|[^\]\\])*\]|./gsu;
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u;
/** ASCII that stands in JSON as it is. */
const RAW: Ranges = [
  [0x20, 0x21],
  [0x23, 0x5b],
  [0x5d, 0x7e],
];
/** As on the server, whose library takes seconds beyond. */
const MAX_CHARS = 48;

/**
 * The JSON strings that fit, quotes included; null for a pattern that does not begin by looking ahead.
 * They have no character that JSON escapes: then their JSON is what the pattern speaks of.
 */
export function lookingAhead(
  expressions: Expressions,
  pattern: string,
  least: number,
  most: number,
): Expression | null {
  if (!/^\^\(\?[=!]/.test(pattern) || UNPRINTABLE.test(pattern)) return null;
  const of = plainCharacters(expressions);
  const quote = expressions.text('"');
  const raw = expressions.repeat(of(RAW), least, Math.min(most, MAX_CHARS));
  const parts = [expressions.sequence(quote, raw, quote)];
  let rest = pattern.slice(1);
  while (/^\(\?[=!]/.test(rest)) {
    const end = groupEnd(rest);
    const seen = quoted(expressions, of, rest.slice(3, end - 1));
    parts.push(rest[2] === '!' ? expressions.not(seen) : seen);
    rest = rest.slice(end);
  }
  if (!isSingle(parsePattern(rest))) return null; // of several options, only the first looks ahead
  return expressions.all(...parts, quoted(expressions, of, rest));
}

/** Where the group ends that the text begins with. */
function groupEnd(text: string): number {
  let depth = 0;
  for (const { 0: token, index } of text.matchAll(TOKEN)) {
    if (token === '(') depth++;
    else if (token === ')') depth--;
    if (depth === 0) return index + token.length;
  }
  throw new PatternError('unclosed group');
}

/** The JSON strings that begin with the pattern, or are it when it ends with `$`. */
function quoted(expressions: Expressions, of: CharacterMaker, pattern: string): Expression {
  const parsed = parsePattern(pattern.replace(/^\^/, ''));
  const closed = isSingle(parsed) && parsed[0]!.at(-1)?.kind === 'end';
  const body = expressionOf(closed ? [parsed[0]!.slice(0, -1)] : parsed, expressions, of);
  const quote = expressions.text('"');
  const rest = expressions.repeat(
    of([
      [0, 0x21],
      [0x23, 0x10ffff],
    ]),
    0,
    Infinity,
  );
  return expressions.sequence(quote, body, ...(closed ? [] : [rest]), quote);
}
