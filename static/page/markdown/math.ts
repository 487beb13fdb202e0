/** Formulas in Markdown, as models write them: `$$…$$`, `\[…\]`, `\(…\)` and, with care, `$…$`. */
import type { TokenizerAndRendererExtension } from 'marked';

export interface MathToken {
  readonly type: 'math';
  readonly raw: string;
  /** TeX. */
  readonly text: string;
  /** Whether it stands in lines of its own. */
  readonly display: boolean;
}

/** A formula longer than this is a mark that nobody closed. */
const MOST_CHARS = 4000;

const OF_LINES = /^ {0,3}(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])[ \t]*(?:\n|$)/;
/** Prices are no formulas: no blank within the dollars at either end, and no digit after them. */
const IN_LINE =
  /^(?:\$\$([^$]+?)\$\$|\\\[([\s\S]+?)\\\]|\\\(([\s\S]+?)\\\)|\$(?![\s$])((?:[^$`\\\n]|\\.)*?[^\s$`\\])\$(?!\d))/;

function tokenOf(match: RegExpExecArray | null, display: boolean): MathToken | undefined {
  if (!match) return undefined;
  const [raw, ...groups] = match as readonly (string | undefined)[];
  const text = groups.find((group) => group !== undefined)?.trim();
  if (raw === undefined || !text || text.length > MOST_CHARS) return undefined;
  return { type: 'math', raw, text, display };
}

export const MATH: readonly TokenizerAndRendererExtension[] = [
  {
    name: 'math',
    level: 'block',
    start: (text) => found(text.search(/\n {0,3}(?:\$\$|\\\[)/)),
    tokenizer: (text) => tokenOf(OF_LINES.exec(text), true),
  },
  {
    name: 'mathInLine',
    level: 'inline',
    start: (text) => found(text.search(/(?<!\w)\$|\\[([]/)),
    tokenizer: (text) => {
      const match = IN_LINE.exec(text);
      return tokenOf(match, match?.[1] !== undefined || match?.[2] !== undefined);
    },
  },
];

function found(index: number): number | undefined {
  return index < 0 ? undefined : index;
}

const OPENERS = [
  ['\\[', '\\]'],
  ['\\(', '\\)'],
] as const;

/** The text before a formula that is still being written; all of it where there is none. */
export function withoutOpenMath(text: string): string {
  const ends = OPENERS.map(([open, close]) => {
    const at = text.lastIndexOf(open);
    return at >= 0 && !text.includes(close, at) ? at : text.length;
  });
  const dollars = [...text.matchAll(/\$\$/g)].map(({ index }) => index);
  if (dollars.length % 2 === 1) ends.push(dollars.at(-1)!);
  const end = Math.min(...ends);
  // After so much, or after a blank line, it was never meant to be one.
  const open = text.slice(end);
  return open.length > MOST_CHARS || open.includes('\n\n') ? text : text.slice(0, end);
}
