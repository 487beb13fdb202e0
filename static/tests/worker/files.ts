/** A small file, a server for it, and what the tests of downloads have in common. */
import { createHash } from 'node:crypto';

import type { FileEntry } from '../../shared/manifest';
import type { Pace } from '../../worker/files/download';
import type { FilesOptions } from '../../worker/files/fetch-model';
import { Gate } from '../../worker/files/gate';

export const CHUNK = 4;
/** Three chunks, the last one shorter. */
export const CONTENT = '0123456789';

export function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

export function entryFor(content: string, chunkBytes: number = CHUNK): FileEntry {
  const chunks = content.match(new RegExp(`[^]{1,${chunkBytes}}`, 'g')) ?? [''];
  return {
    name: 'weights',
    sizeBytes: content.length,
    sha256: hash(content),
    chunkBytes,
    chunks: chunks.map(hash),
  };
}

export const entry = entryFor(CONTENT);

/** Patience without waiting, in chunks of one lane so that requests come in order. */
export const PACE: Pace = { lanes: 1, stallMs: 1000, backoffMs: [0, 0, 0], partBytes: 2 };

export interface Request {
  readonly from: number;
  readonly range: string | null;
}

/** What the server does with a request; the content unless it says otherwise. */
export type Behaviour = (request: Request, count: number) => Response | string | null;

/** The text in pieces of three bytes, which is no divisor of the chunk size; `cut` ends it with an error. */
export function body(text: string, cut = false): ReadableStream<Uint8Array> {
  const pieces = text.match(/[^]{1,3}/g) ?? [];
  return new ReadableStream({
    pull(controller) {
      const piece = pieces.shift();
      if (piece !== undefined) controller.enqueue(new TextEncoder().encode(piece));
      else if (cut) controller.error(new TypeError('cut'));
      else controller.close();
    },
  });
}

/** A server with ranges. A behaviour gives other content, a whole response, or null for no connection. */
export function serving(behave: Behaviour = () => CONTENT) {
  const asked: string[] = [];
  const ranges: (string | null)[] = [];
  const fetchFile = (url: string, { headers }: RequestInit = {}) => {
    const range = new Headers(headers).get('Range');
    const [, first, last] = /bytes=(\d+)-(\d+)/.exec(range ?? '') ?? [];
    asked.push(url);
    ranges.push(range);
    const from = Number(first ?? 0);
    const answer = behave({ from, range }, asked.length);
    if (answer === null) return Promise.reject(new TypeError('no connection'));
    if (answer instanceof Response) return Promise.resolve(answer);
    if (range === null) return Promise.resolve(new Response(body(answer)));
    const part = answer.slice(from, Number(last) + 1);
    const contentRange = `bytes ${from}-${last}/${answer.length}`;
    return Promise.resolve(
      new Response(body(part), { status: 206, headers: { 'Content-Range': contentRange } }),
    );
  };
  return { asked, ranges, fetch: fetchFile as unknown as typeof fetch };
}

/** A part of the content that breaks off after some bytes. */
export function broken(from: number, bytes: number, range: string | null): Response {
  const headers = range === null ? {} : { 'Content-Range': `bytes ${range.slice(6)}/10` };
  return new Response(body(CONTENT.slice(from, from + bytes), true), {
    status: range === null ? 200 : 206,
    headers,
  });
}

export function options(change: Partial<FilesOptions> = {}): FilesOptions {
  return {
    gate: new Gate(),
    signal: new AbortController().signal,
    onProgress: () => {},
    onPlan: () => Promise.resolve(),
    onSpace: () => Promise.resolve(),
    ...change,
  };
}
