/** An answer's Markdown as blocks. No HTML comes out of it: markup that a model writes is text. */
import { Marked } from 'marked';
import type { MarkedToken, Token } from 'marked';

import { MATH } from './math';
import type { MathToken } from './math';
import { mend } from './mend';

export type Block = MarkedToken | MathToken;

/**
 * GitHub's Markdown, in which a line break is one, without HTML and without link definitions. So
 * every block stands for itself: text that comes later never changes what an earlier one means.
 */
const marked = new Marked({
  gfm: true,
  breaks: true,
  extensions: [...MATH],
  tokenizer: {
    html: () => undefined,
    tag: () => undefined,
    def: () => undefined,
    reflink: () => undefined,
  },
});

/** Parses a text that grows; what cannot change any more is kept and not read again. */
export class MarkdownParser {
  #settled: readonly Block[] = [];
  /** The text of the settled blocks. */
  #prefix = '';

  /**
   * Blocks of the text. Those that are as they were in the last call are the same objects.
   * growing: whether more will come; then marks whose meaning is still open are held back.
   */
  parse(text: string, growing: boolean): readonly Block[] {
    if (!text.startsWith(this.#prefix)) {
      this.#settled = [];
      this.#prefix = '';
    }
    const rest = text.slice(this.#prefix.length);
    this.#settle(lex(rest));
    const open = text.slice(this.#prefix.length);
    return [...this.#settled, ...lex(growing ? mend(open) : open)];
  }

  /** Only the last block can still change: a list goes on, a paragraph becomes a table. */
  #settle(tokens: readonly Block[]): void {
    const last = tokens.findLastIndex(({ type }) => type !== 'space');
    const done = tokens.slice(0, Math.max(last, 0));
    this.#settled = [...this.#settled, ...done];
    this.#prefix += done.map(({ raw }) => raw).join('');
  }
}

/** Forty quotes or lists in each other: a model that repeats itself, and much work for the parser. */
const TOO_DEEP = /^(?:[ \t]{0,3}(?:>|[-*+][ \t]|\d{1,9}[.)][ \t])){40}/m;

/** Text that the parser would choke on is one plain paragraph. */
function lex(text: string): readonly Block[] {
  if (TOO_DEEP.test(text)) return plain(text);
  try {
    return marked.lexer(text) as readonly Token[] as readonly Block[];
  } catch {
    return plain(text); // whatever else exhausts the stack
  }
}

function plain(text: string): readonly Block[] {
  const token: Block = { type: 'text', raw: text, text, escaped: true };
  return [{ type: 'paragraph', raw: text, text, tokens: [token] }];
}
