/** Model files: from the store where they are, else from the server, verified and stored. */
import { LocalphiError, messageOf } from '../../shared/errors';
import { parseJson } from '../../shared/json';
import { parseManifest } from '../../shared/manifest';
import type { FileEntry, Manifest } from '../../shared/manifest';
import { MemoryStore } from './store-memory';
import { serverFetch } from '../server-fetch';
import type { FileStore } from './store';

export interface FetchedManifest {
  readonly manifest: Manifest;
  /** False when the server was out of reach and the manifest is the one of an earlier visit. */
  readonly fresh: boolean;
}

/** Told the number of bytes that came to hand since the last call. */
export type OnBytes = (addedBytes: number) => void;

export class ModelFetcher {
  readonly #modelId: string;
  readonly #store: FileStore;
  readonly #fetch: typeof fetch;
  /** Takes what the store refuses. */
  readonly #overflow = new MemoryStore();
  #refused = false;

  constructor(modelId: string, store: FileStore, fetchFile: typeof fetch = serverFetch) {
    this.#modelId = modelId;
    this.#store = store;
    this.#fetch = fetchFile;
  }

  /** Whether every file so far will be there on the next visit. */
  get lasting(): boolean {
    return this.#store.lasting && !this.#refused;
  }

  /**
   * The server's manifest, or the stored one when the server is out of reach.
   * Rejects with `network` when there is neither, `server` for an HTTP error, `manifest` if unusable.
   */
  async manifest(): Promise<FetchedManifest> {
    let text: string;
    try {
      text = await (await this.#get('localphi.json', 'no-cache')).text();
    } catch (error) {
      const stored = isNetworkError(error) ? await this.#storedManifest() : null;
      if (!stored) throw error;
      return { manifest: stored, fresh: false };
    }
    const manifest = parse(text);
    await this.#keepManifest(text);
    return { manifest, fresh: true };
  }

  /**
   * The content of a file whose bytes are those of the manifest.
   * Rejects with `damaged` and the file's name when two downloads in a row were not.
   */
  async file(entry: FileEntry, chunkBytes: number, onBytes: OnBytes): Promise<Blob> {
    return withLock(`localphi-${entry.sha256}`, async () => {
      const stored =
        (await this.#store.open(entry.sha256)) ?? (await this.#overflow.open(entry.sha256));
      if (stored && (await isWhole(stored, entry, chunkBytes))) {
        onBytes(entry.sizeBytes);
        return stored;
      }
      return this.#download(entry, chunkBytes, onBytes);
    });
  }

  /** Deletes stored files that no stored manifest mentions, this model's or another's. */
  async prune(): Promise<void> {
    const texts = (await this.#store.manifests()).values();
    await this.#store.prune(new Set([...texts].flatMap(mentioned)));
  }

  async #storedManifest(): Promise<Manifest | null> {
    const text = (await this.#store.manifests()).get(this.#modelId);
    return text === undefined ? null : parse(text);
  }

  async #keepManifest(text: string): Promise<void> {
    try {
      await withLock('localphi-manifests', () => this.#store.writeManifest(this.#modelId, text));
    } catch {
      this.#refused = true;
    }
  }

  async #download(entry: FileEntry, chunkBytes: number, onBytes: OnBytes): Promise<Blob> {
    for (let damaged = false; ;) {
      let addedBytes = 0;
      try {
        return await this.#downloadOnce(entry, chunkBytes, (bytes) => {
          addedBytes += bytes;
          onBytes(bytes);
        });
      } catch (error) {
        onBytes(-addedBytes);
        if (isDamage(error) && !damaged) damaged = true;
        else if (!(error instanceof LocalphiError) && !this.#refused) this.#refused = true;
        else throw error;
      }
    }
  }

  /** Rejects with a LocalphiError, or with what the store threw when it refused. */
  async #downloadOnce(entry: FileEntry, chunkBytes: number, onBytes: OnBytes): Promise<Blob> {
    const store = this.#refused ? this.#overflow : this.#store;
    const response = await this.#get(entry.name, 'no-store');
    const writer = await store.create(entry.sha256, entry.sizeBytes);
    try {
      const parts = partsOf(response, entry.name, onBytes);
      for await (const chunk of verifiedChunks(parts, entry, chunkBytes)) writer.write(chunk);
      return await writer.commit();
    } catch (error) {
      await writer.abort();
      throw error;
    }
  }

  async #get(name: string, cache: RequestCache): Promise<Response> {
    const path = [this.#modelId, ...name.split('/')].map(encodeURIComponent);
    const url = ['/models', ...path].join('/');
    const response = await this.#fetch(url, { cache }).catch((error: unknown) => {
      throw unreachable(name, error);
    });
    if (!response.ok) {
      throw new LocalphiError('server', `${name}: the server answered ${response.status}`);
    }
    return response;
  }
}

function parse(text: string): Manifest {
  return parseManifest(parseJson(text, 'localphi.json'));
}

/** SHA-256 of every file a stored manifest lists; none for one of a schema we no longer read. */
function mentioned(text: string): readonly string[] {
  try {
    const variants = [...parse(text).variants.values()];
    return variants.flatMap(({ files }) => files.map(({ sha256 }) => sha256));
  } catch {
    return [];
  }
}

/** Whether the stored bytes are still those of the manifest: disks and other programs change files. */
async function isWhole(stored: Blob, entry: FileEntry, chunkBytes: number): Promise<boolean> {
  if (stored.size !== entry.sizeBytes) return false;
  try {
    const parts = partsOf(new Response(stored), entry.name, () => {});
    const chunks = verifiedChunks(parts, entry, chunkBytes);
    while (!(await chunks.next()).done);
    return true;
  } catch (error) {
    if (error instanceof LocalphiError) return false; // damaged, or cannot be read at all
    throw error;
  }
}

async function* partsOf(
  response: Response,
  name: string,
  onBytes: OnBytes,
): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  for (;;) {
    const part = await reader?.read().catch((error: unknown) => {
      throw unreachable(name, error);
    });
    if (part?.value === undefined) return;
    onBytes(part.value.length);
    yield part.value;
  }
}

/** The file in chunks whose hashes are those of the manifest; throws `damaged` at the first other. */
async function* verifiedChunks(
  parts: AsyncIterable<Uint8Array>,
  entry: FileEntry,
  chunkBytes: number,
): AsyncGenerator<Uint8Array> {
  let count = 0;
  for await (const chunk of chunksOf(parts, chunkBytes)) {
    if ((await sha256(chunk)) !== entry.chunks[count++]) throw damagedFile(entry);
    yield chunk;
  }
  if (count !== entry.chunks.length) throw damagedFile(entry);
}

/** The same bytes in pieces of exactly `size`, the last one excepted. A piece is good until the next. */
async function* chunksOf(
  parts: AsyncIterable<Uint8Array>,
  size: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const chunk = new Uint8Array(size);
  let filled = 0;
  for await (const part of parts) {
    for (let taken = 0; taken < part.length;) {
      const piece = part.subarray(taken, taken + size - filled);
      chunk.set(piece, filled);
      filled += piece.length;
      taken += piece.length;
      if (filled === size) {
        yield chunk;
        filled = 0;
      }
    }
  }
  if (filled > 0) yield chunk.subarray(0, filled);
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Runs the work while no other tab runs work under the same name, where the browser has locks. */
async function withLock<T>(name: string, work: () => Promise<T>): Promise<T> {
  // Missing outside secure contexts, whatever the types say.
  const locks = navigator.locks as LockManager | undefined;
  return locks ? await locks.request(name, work) : work();
}

function unreachable(name: string, cause: unknown): LocalphiError {
  return new LocalphiError('network', `${name} could not be fetched: ${messageOf(cause)}`, {
    cause,
  });
}

function damagedFile({ name }: FileEntry): LocalphiError {
  return new LocalphiError('damaged', `${name} is damaged: its SHA-256 is not the manifest's`);
}

function isDamage(error: unknown): boolean {
  return error instanceof LocalphiError && error.kind === 'damaged';
}

function isNetworkError(error: unknown): boolean {
  return error instanceof LocalphiError && error.kind === 'network';
}
