/** The pieces of a file whose hashes the manifest lists. */
import type { FileEntry } from '../../shared/manifest';
import type { StoredFile } from './store';

export function chunkStart({ chunkBytes }: FileEntry, chunk: number): number {
  return chunk * chunkBytes;
}

/** All chunks have the manifest's size; the last one may be shorter. */
export function chunkLength(file: FileEntry, chunk: number): number {
  return Math.min(file.chunkBytes, file.sizeBytes - chunkStart(file, chunk));
}

/** Numbers of the chunks that are not whole. */
export function missingChunks(file: FileEntry, stored: StoredFile): number[] {
  const chunks = [...file.chunks.keys()];
  return chunks.filter((chunk) => stored.filled(chunk) < chunkLength(file, chunk));
}

/** Bytes at hand, those of chunks that are not whole included. */
export function filledBytes(file: FileEntry, stored: StoredFile): number {
  return [...file.chunks.keys()].reduce((sum, chunk) => sum + stored.filled(chunk), 0);
}

/** Whether the bytes are the chunk's, by length and SHA-256. */
export async function isChunk(
  file: FileEntry,
  chunk: number,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  if (bytes.length !== chunkLength(file, chunk)) return false;
  return (await sha256(bytes)) === file.chunks[chunk];
}

/** Compares what is kept with the manifest; the numbers of the chunks that are not what they should be. */
export async function damagedChunks(
  file: FileEntry,
  stored: StoredFile,
  { signal, onBytes }: { signal: AbortSignal; onBytes?: (addedBytes: number) => void },
): Promise<number[]> {
  const damaged: number[] = [];
  for (const chunk of file.chunks.keys()) {
    signal.throwIfAborted();
    const bytes = await stored.read(chunk);
    if (!(await isChunk(file, chunk, bytes))) damaged.push(chunk);
    onBytes?.(chunkLength(file, chunk));
  }
  return damaged;
}

/** In hex. */
export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
