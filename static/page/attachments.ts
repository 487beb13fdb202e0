/** Text files in a question: read, written into it, and found in it again. */

export interface Attachment {
  readonly name: string;
  readonly text: string;
}

/** `too-long`: more than any model here reads. `no-text`: pictures, archives and the like. */
export type Unreadable = 'too-long' | 'no-text';

export const MOST_BYTES = 1_000_000;

export async function readAttachment(file: File): Promise<Attachment | Unreadable> {
  if (file.size > MOST_BYTES) return 'too-long';
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(await file.arrayBuffer());
    if (text.includes('\0')) return 'no-text';
    return { name: nameOf(file), text: text.replaceAll('\r\n', '\n').trimEnd() };
  } catch {
    return 'no-text';
  }
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
