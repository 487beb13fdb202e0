/** The text of a PDF. Fetched when the first one is attached: its library is twice as large as the page. */
import { PDFWorker, getDocument } from 'pdfjs-dist/legacy/build/pdf.mjs';
import type { PDFDocumentProxy } from 'pdfjs-dist/legacy/build/pdf.mjs';
import workerUrl from 'pdfjs-dist/legacy/build/pdf.worker.min.mjs?url';

import type { ReadingOptions, Unreadable } from './attachments';

/** Made by the build (build/pdf-files.ts): base64 by file name. */
const CMAPS_URL = '/pdf/cmaps.json';

/** Of what the library may ask for, text needs only the tables of Chinese, Japanese and Korean codes. */
class Tables {
  static #cmaps: Promise<Record<string, string>> | null = null;

  async fetch({ kind, filename }: { kind: string; filename: string }): Promise<Uint8Array> {
    if (kind !== 'cMapUrl') throw new Error(`text needs no ${kind}`);
    Tables.#cmaps ??= fetchTables();
    const packed = (await Tables.#cmaps)[filename];
    if (packed === undefined) throw new Error(`there is no table ${filename}`);
    return Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  }
}

async function fetchTables(): Promise<Record<string, string>> {
  const response = await fetch(CMAPS_URL);
  return (await response.json()) as Record<string, string>;
}

/** Lines as the pages have them, a blank line between pages. Rejects when aborted. */
export async function readPdf(
  data: Uint8Array,
  mostCharacters: number,
  { onShare, signal }: ReadingOptions,
): Promise<{ readonly text: string } | Unreadable> {
  // One for each file: its end is the end of whatever the file makes the library do.
  const thread = new Worker(workerUrl, { type: 'module' });
  try {
    const text = await Promise.race([
      readIn(thread, data, mostCharacters, onShare),
      endOf(thread, signal),
    ]);
    if (text === null) return 'pdf-too-long';
    return text === '' ? 'pdf-scanned' : { text };
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof Event) return 'pdf-no-reader'; // the script did not come
    const locked = error instanceof Error && error.name === 'PasswordException';
    return locked ? 'pdf-locked' : 'pdf-broken';
  } finally {
    thread.terminate();
  }
}

/** Rejects when the thread cannot go on, or shall not. */
function endOf(thread: Worker, signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    thread.onerror = reject;
    signal?.addEventListener('abort', reject);
    if (signal?.aborted) reject(signal.reason as Error);
  });
}

async function readIn(
  thread: Worker,
  data: Uint8Array,
  mostCharacters: number,
  onShare: ReadingOptions['onShare'],
): Promise<string | null> {
  const task = getDocument({
    ...{ data, worker: PDFWorker.create({ port: thread }), verbosity: 0 },
    ...{ BinaryDataFactory: Tables, useWorkerFetch: false },
    // Nothing is drawn here.
    ...{ disableFontFace: true, useWasm: false, isOffscreenCanvasSupported: false },
  });
  return textOf(await task.promise, mostCharacters, onShare);
}

/** Null when there is more than one wants. */
async function textOf(
  document: PDFDocumentProxy,
  mostCharacters: number,
  onShare: ReadingOptions['onShare'],
): Promise<string | null> {
  const pages: string[] = [];
  let length = 0;
  for (let number = 1; number <= document.numPages; number++) {
    const text = await textOfPage(document, number);
    length += text.length;
    if (length > mostCharacters) return null;
    if (text !== '') pages.push(text);
    onShare?.(number / document.numPages);
  }
  return pages.join('\n\n');
}

async function textOfPage(document: PDFDocumentProxy, number: number): Promise<string> {
  const page = await document.getPage(number);
  const { items } = await page.getTextContent();
  page.cleanup();
  const pieces = items.map((item) => ('str' in item ? item.str + (item.hasEOL ? '\n' : '') : ''));
  return pieces
    .join('')
    .replaceAll(/[^\S\n]+$/gm, '')
    .trim();
}
