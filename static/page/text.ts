/** An answer's text as blocks: paragraphs with `code` in them, and fenced code. */

export type Block =
  | { readonly type: 'paragraph'; readonly spans: readonly Span[] }
  | { readonly type: 'code'; readonly text: string };

export interface Span {
  readonly code: boolean;
  readonly text: string;
}

const FENCE = /^\s{0,3}```/;

/** A fence that is still open, because the answer is still coming, runs to the end. */
export function parseText(text: string): readonly Block[] {
  const blocks: Block[] = [];
  let lines: string[] = [];
  let fenced = false;
  const close = () => {
    if (fenced) blocks.push({ type: 'code', text: lines.join('\n') });
    else blocks.push(...paragraphs(lines.join('\n')));
    lines = [];
  };
  for (const line of text.split('\n')) {
    if (FENCE.test(line)) {
      close();
      fenced = !fenced;
    } else {
      lines.push(line);
    }
  }
  close();
  return blocks;
}

function paragraphs(text: string): readonly Block[] {
  const parts = text.split(/\n\s*\n/).map((part) => part.replace(/^\n+|\s+$/g, ''));
  return parts
    .filter((part) => part !== '')
    .map((part) => ({ type: 'paragraph', spans: spansOf(part) }));
}

/** Backticks without a partner are ordinary text. */
function spansOf(text: string): readonly Span[] {
  return text
    .split(/(`[^`\n]+`)/)
    .filter((part) => part !== '')
    .map((part) =>
      part.length > 2 && part.startsWith('`') && part.endsWith('`')
        ? { code: true, text: part.slice(1, -1) }
        : { code: false, text: part },
    );
}
