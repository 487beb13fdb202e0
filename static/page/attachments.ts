/** Files in a question: their text is read, written into it, and found in it again. */

export interface Attachment {
  readonly name: string;
  readonly text: string;
}

/**
 * `too-long`: more than any model here reads. `no-text`: pictures, archives and the like. `pdf-scanned`: pages that
 * are pictures. `pdf-locked`: wants a password. `pdf-no-reader`: what reads PDFs did not come.
 */
export type Unreadable =
  | 'too-long'
  | 'no-text'
  | 'pdf-too-large'
  | 'pdf-too-long'
  | 'pdf-scanned'
  | 'pdf-locked'
  | 'pdf-broken'
  | 'pdf-no-reader';

/** A PDF is mostly fonts and pictures: it may be longer than its text. */
export const MOST = { textBytes: 1_000_000, pdfBytes: 100_000_000 } as const;

export interface ReadingOptions {
  /** How much of a long file has been read, from 0 to 1. */
  readonly onShare?: (share: number) => void;
  readonly signal?: AbortSignal;
}

/** Rejects when the signal aborts. */
export async function readAttachment(
  file: File,
  options: ReadingOptions = {},
): Promise<Attachment | Unreadable> {
  const text = (await isPdf(file)) ? await readPdfFile(file, options) : await readTextFile(file);
  return typeof text === 'string' ? text : { name: nameOf(file), text: text.text };
}

type Text = Pick<Attachment, 'text'>;

async function readTextFile(file: File): Promise<Text | Unreadable> {
  if (file.size > MOST.textBytes) return 'too-long';
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(await file.arrayBuffer());
    return text.includes('\0') ? 'no-text' : { text: text.replaceAll('\r\n', '\n').trimEnd() };
  } catch {
    return 'no-text';
  }
}

/** Says so at its beginning, though not always with the first byte. */
async function isPdf(file: File): Promise<boolean> {
  if (file.type === 'application/pdf' || /\.pdf$/i.test(file.name)) return true;
  return (await file.slice(0, 1024).text()).includes('%PDF-');
}

async function readPdfFile(file: File, options: ReadingOptions): Promise<Text | Unreadable> {
  if (file.size > MOST.pdfBytes) return 'pdf-too-large';
  const reader = await import('./pdf').catch(() => null);
  options.signal?.throwIfAborted();
  if (!reader) return 'pdf-no-reader';
  return reader.readPdf(new Uint8Array(await file.arrayBuffer()), MOST.textBytes, options);
}

/** The question, then each file between fences that its text does not have. */
export function withAttachments(question: string, attachments: readonly Attachment[]): string {
  const blocks = attachments.map(({ name, text }) => {
    const fence = fenceFor(text);
    return `File \`${name}\`:\n${fence}\n${text}\n${fence}`;
  });
  return [question.trim(), ...blocks].filter((part) => part !== '').join('\n\n');
}

const BLOCK = /(?:^|\n\n)File `([^`\n]+)`:\n(`{3,})\n([\s\S]*?)\n\2(?=\n\n|$)/g;

/** The question without its files, and these. */
export function splitAttachments(content: string): {
  readonly question: string;
  readonly attachments: readonly Attachment[];
} {
  const attachments = [...content.matchAll(BLOCK)].map(([, name = '', , text = '']) => ({
    name,
    text,
  }));
  return { question: content.replaceAll(BLOCK, ''), attachments };
}

/**
 * About how many tokens a model makes of the text. Its tokenizer is in the worker or the server; a
 * guess is quick, and asks nobody. Latin text has some 3.5 characters a token, others about one.
 */
export function estimateTokens(text: string): number {
  const others = text.match(/[^\0-\u024f]/g)?.length ?? 0;
  return Math.ceil((text.length - others) / 3.5 + others);
}

/** Backticks and line breaks have a meaning where the name is written. */
function nameOf({ name }: File): string {
  return name.replaceAll(/[`\s]+/g, ' ').trim() || 'file';
}

function fenceFor(text: string): string {
  const longest = Math.max(2, ...(text.match(/`+/g) ?? []).map((run) => run.length));
  return '`'.repeat(longest + 1);
}
