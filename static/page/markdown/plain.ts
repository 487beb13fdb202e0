import type { Token } from 'marked';

import { decodeEntities } from './entities';
import { MarkdownParser } from './parser';

/** The words of a Markdown text, as one would read them out. */
export function plainText(markdown: string): string {
  const blocks = new MarkdownParser().parse(markdown, false);
  return wordsOf(blocks).replace(/\s+/g, ' ').trim();
}

function wordsOf(tokens: readonly Token[]): string {
  return tokens.map((token) => wordsIn(token)).join('');
}

/** Blocks end with a space, so that words of two blocks stay two words. */
function wordsIn(token: Token): string {
  const { header, rows, items, tokens, text } = token as Token & Parts;
  if (header && rows) {
    return [header, ...rows]
      .map((row) => row.map((cell) => `${wordsOf(cell.tokens)} `).join(''))
      .join('');
  }
  if (items) return items.map((item) => `${wordsOf(item.tokens)} `).join('');
  if (tokens) return wordsOf(tokens) + (BLOCKS.has(token.type) ? ' ' : '');
  if (token.type === 'br' || token.type === 'space') return ' ';
  if (token.type === 'code') return ` ${text ?? ''} `;
  return token.type === 'text' ? decodeEntities(text ?? '') : (text ?? '');
}

const BLOCKS = new Set(['paragraph', 'heading', 'blockquote', 'text']);

interface Cell {
  readonly tokens: readonly Token[];
}

interface Parts {
  readonly header?: readonly Cell[];
  readonly rows?: readonly (readonly Cell[])[];
  readonly items?: readonly Cell[];
  readonly tokens?: readonly Token[];
  readonly text?: string;
}
