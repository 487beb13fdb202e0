/**
 * What to show of Markdown that is still being written. A mark whose meaning the next words decide
 * would show for a moment as text, or as a heading that then becomes a list; so it waits.
 */
import { withoutOpenMath } from './math';

/** Quote marks and list bullets that may stand before a block's own text. */
const LEAD = String.raw`^(?:[\s>]|[-*+]\s|\d{1,9}[.)]\s)*`;
const FENCE = new RegExp(String.raw`${LEAD}(\`{3,}|~{3,})(.*)$`);
/** A line that is nothing but marks: it may become a list, a heading, a rule, a fence, a table. */
const UNDECIDED =
  /^\s*(?:>\s*)*(?:[-*+_=~`#|:.]+|\d{1,9}[.)]?|(?:[-*+]|\d{1,9}[.)])\s+(?:\[[ xX]?\]?|[*_~`#]+))?\s*$/;
const TABLE_LINE = /^\s*\|/;
const DELIMITERS = /^[\s|:-]*$/;

/** The text without what is undecided at its end, and with open emphasis and code closed. */
export function mend(text: string): string {
  const lines = text.split('\n');
  const fence = openFence(lines);
  if (fence) return holdFence(lines, fence).join('\n');
  const whole = withoutOpenMath(text);
  if (whole !== text) return mend(whole);
  const held = holdTable(isUndecided(lines.at(-1)!) ? lines.slice(0, -1) : lines);
  const last = held.pop();
  if (last === undefined) return '';
  return [...held, closeInline(last)].join('\n');
}

function isUndecided(line: string): boolean {
  return line.trim() !== '' && UNDECIDED.test(line);
}

interface Fence {
  readonly marks: string;
  /** Index of the line that opens it. */
  readonly line: number;
}

/** The fence that nothing closes, or null. */
function openFence(lines: readonly string[]): Fence | null {
  let open: Fence | null = null;
  for (const [line, text] of lines.entries()) {
    const [, marks, rest] = FENCE.exec(text) ?? [];
    if (marks === undefined || rest === undefined) continue;
    if (!open) {
      // Backticks after backticks are code in a line.
      if (marks.startsWith('~') || !rest.includes('`')) open = { marks, line };
    } else if (marks.startsWith(open.marks) && rest.trim() === '') open = null;
  }
  return open;
}

/** Waits for the language to be whole, and for marks that may be the closing ones. */
function holdFence(lines: readonly string[], { marks, line }: Fence): readonly string[] {
  const last = lines.at(-1)!.trim();
  const closing = last !== '' && marks.startsWith(last);
  return line === lines.length - 1 || closing ? lines.slice(0, -1) : lines;
}

/** A table is shown from the line on that makes it one. */
function holdTable(lines: readonly string[]): string[] {
  const end = lines.at(-1) === '' ? lines.length - 1 : lines.length;
  let start = end;
  while (start > 0 && TABLE_LINE.test(lines[start - 1]!)) start--;
  const rows = end - start;
  const undecided = rows === 1 || (rows === 2 && end === lines.length && isDelimiters(lines, end));
  return lines.slice(0, undecided ? start : lines.length);
}

function isDelimiters(lines: readonly string[], end: number): boolean {
  return DELIMITERS.test(lines[end - 1]!);
}

/** Emphasis, code and links of the last line as they will look when their end has come. */
function closeInline(line: string): string {
  const start = TABLE_LINE.test(line) ? line.lastIndexOf('|') + 1 : 0;
  const body = line.slice(start).trimEnd();
  const blank = line.slice(start + body.length);
  return line.slice(0, start) + closed(withoutOpenLink(body)) + blank;
}

/** `[words](addr` is shown as its words. */
function withoutOpenLink(text: string): string {
  return text.replace(/!?\[([^[\]]*)\]\([^()\s]*(?:\s[^()]*)?$/, '$1');
}

/** One or more of the same mark. */
const RUN = /`+|\*+|_+|~+/y;

function closed(text: string): string {
  const open: string[] = [];
  let at = 0;
  while (at < text.length) {
    RUN.lastIndex = at;
    const run = text[at] === '\\' ? null : RUN.exec(text)?.[0];
    if (run === undefined || run === null) {
      at += text[at] === '\\' ? 2 : 1;
    } else if (run.startsWith('`')) {
      const end = endOfCode(text, at + run.length, run);
      if (end === null) return closeAll(closeCode(text, at, run), open);
      at = end;
    } else {
      if (!takeRun(open, text, at, run)) return closeAll(text.slice(0, at), open);
      at += run.length;
    }
  }
  return closeAll(text, open);
}

/** Index after the code that starts at `from`, or null when it is not closed. */
function endOfCode(text: string, from: number, ticks: string): number | null {
  for (const { 0: run, index } of text.slice(from).matchAll(/`+/g)) {
    if (run === ticks) return from + index + run.length;
  }
  return null;
}

function closeCode(text: string, start: number, ticks: string): string {
  const code = text.slice(start + ticks.length).replace(/`+$/, '');
  return text.slice(0, start) + (code === '' ? '' : ticks + code + ticks);
}

/** Closes and opens what the run does. False when the run is at the end and says nothing yet. */
function takeRun(open: string[], text: string, at: number, run: string): boolean {
  const before = text[at - 1] ?? ' ';
  const after = text[at + run.length] ?? ' ';
  let left = run;
  if (!isSpace(before)) {
    while (open.length > 0 && left.startsWith(open.at(-1)!)) left = left.slice(open.pop()!.length);
  }
  if (left === '') return true;
  if (at + run.length === text.length) return !isSpace(before) && !open.at(-1)?.startsWith(left);
  if (!isSpace(after) && canOpen(left, before)) open.push(left);
  return true;
}

/** A single mark inside a word is rather a product or a name than emphasis. */
function canOpen(run: string, before: string): boolean {
  if (run.startsWith('~')) return run.length === 2;
  return run.length <= 3 && (run.length > 1 || !/[\p{L}\p{N}]/u.test(before));
}

function closeAll(text: string, open: readonly string[]): string {
  const body = text.trimEnd();
  const unopened = open.findLastIndex((mark) => !body.endsWith(mark)) + 1;
  const shown = open.slice(unopened).reduceRight((rest, mark) => rest.slice(0, -mark.length), body);
  return shown + open.slice(0, unopened).toReversed().join('') + text.slice(body.length);
}

function isSpace(character: string): boolean {
  return character.trim() === '';
}
