/** Chunks of a file, several at a time, each compared with the manifest before it counts. */
import { LocalphiError, messageOf } from '../../shared/errors';
import type { FileEntry } from '../../shared/manifest';
import { chunkLength, chunkStart, isChunk, missingChunks } from './chunks';
import type { Gate } from './gate';
import type { StoredFile } from './store';

/** How patient a download is. */
export interface Pace {
  /** Chunks that are fetched at the same time. */
  readonly lanes: number;
  /** A connection that brings nothing for this long is cut. */
  readonly stallMs: number;
  /** Waits between attempts that brought nothing; after the last of them it is an error. */
  readonly backoffMs: readonly number[];
  /** Parts that a store keeps of a chunk under way. */
  readonly partBytes: number;
}

export const PACE: Pace = {
  lanes: 3,
  stallMs: 10_000,
  backoffMs: [250, 500, 1000, 2000, 4000, 8000, 8000, 8000],
  partBytes: 1024 * 1024,
};

/** Times that a chunk may arrive with other bytes than the manifest's. */
const MOST_DAMAGES = 3;

export interface DownloadListener {
  /** Bytes that came over the network; negative for those that turned out to be damaged. */
  onBytes(addedBytes: number): void;
  /** Whether the server keeps us waiting. */
  onRetry(retrying: boolean): void;
}

export interface Source {
  readonly url: string;
  /** How the browser's own cache is used; damaged chunks pass it by. */
  readonly cache: RequestCache;
  readonly fetch: typeof fetch;
}

interface DownloadOptions extends DownloadListener {
  readonly pace: Pace;
  /** Closed while the download is paused. */
  readonly gate: Gate;
  readonly signal: AbortSignal;
}

/**
 * Fetches what is missing of the file into the store.
 * Rejects with `network`, `server` or `damaged`, with what the store threw when it refused, or with
 * the signal's reason. What is whole by then stays.
 */
export async function download(
  file: FileEntry,
  stored: StoredFile,
  source: Source,
  options: DownloadOptions,
): Promise<void> {
  const failure = new AbortController();
  const unlink = linked(options.signal, failure);
  const chunks = missingChunks(file, stored).values();
  const lane = async () => {
    // One buffer a lane, whatever the size of the file.
    const buffer = new Uint8Array(Math.min(file.chunkBytes, file.sizeBytes));
    for (const chunk of chunks) {
      const one = new ChunkDownload(file, chunk, stored, source, buffer, {
        ...options,
        signal: failure.signal,
      });
      await one.run();
    }
  };
  const lanes = Array.from({ length: options.pace.lanes }, () =>
    lane().catch((error: unknown) => {
      failure.abort(error);
      throw error;
    }),
  );
  try {
    await Promise.all(lanes);
  } finally {
    await Promise.allSettled(lanes); // nobody writes after this
    unlink();
  }
}

/** Worth another try: the way to the server, not what it says. */
class Interruption extends Error {
  readonly kind: 'network' | 'server';
  readonly waitMs: number;

  constructor(kind: 'network' | 'server', message: string, waitMs = 0) {
    super(message);
    this.kind = kind;
    this.waitMs = waitMs;
  }
}

class Paused extends Error {}

class ChunkDownload {
  readonly #file: FileEntry;
  readonly #chunk: number;
  readonly #stored: StoredFile;
  readonly #source: Source;
  readonly #options: DownloadOptions;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  #filled = 0;
  #damages = 0;

  constructor(
    file: FileEntry,
    chunk: number,
    stored: StoredFile,
    source: Source,
    buffer: Uint8Array<ArrayBuffer>,
    options: DownloadOptions,
  ) {
    this.#file = file;
    this.#chunk = chunk;
    this.#stored = stored;
    this.#source = source;
    this.#options = options;
    this.#bytes = buffer.subarray(0, chunkLength(file, chunk));
  }

  async run(): Promise<void> {
    await this.#takeUp();
    for (let failures = 0; ;) {
      await this.#options.gate.passed(this.#options);
      const before = this.#filled;
      try {
        await this.#fetchRest();
        if (await isChunk(this.#file, this.#chunk, this.#bytes)) break;
        await this.#startOver();
      } catch (error) {
        if (error instanceof Paused) continue;
        if (!(error instanceof Interruption)) throw error;
        failures = this.#filled > before ? 1 : failures + 1;
        await this.#wait(error, failures);
      }
    }
    this.#options.onRetry(false);
    await this.#stored.commit(this.#chunk, this.#bytes);
  }

  /** Begins with what an earlier visit left of the chunk. */
  async #takeUp(): Promise<void> {
    const wanted = this.#stored.filled(this.#chunk);
    if (wanted === 0) return;
    const part = await this.#stored.read(this.#chunk);
    if (part.length === wanted) {
      this.#bytes.set(part);
      this.#filled = wanted;
    } else {
      this.#options.onBytes(-wanted);
      await this.#stored.discard(this.#chunk);
    }
  }

  /** Throws `damaged` when the chunk has been fetched in vain too often. */
  async #startOver(): Promise<void> {
    if (++this.#damages === MOST_DAMAGES) {
      const { name, chunks } = this.#file;
      const which = chunks.length === 1 ? '' : ` (part ${this.#chunk + 1} of ${chunks.length})`;
      throw new LocalphiError(
        'damaged',
        `${name}${which} is damaged: its SHA-256 is not the manifest's`,
      );
    }
    this.#options.onBytes(-this.#filled);
    this.#filled = 0;
    await this.#stored.discard(this.#chunk);
  }

  async #wait(error: Interruption, failures: number): Promise<void> {
    const backoffMs = this.#options.pace.backoffMs[failures - 1];
    if (backoffMs === undefined) throw new LocalphiError(error.kind, error.message);
    this.#options.onRetry(true);
    await sleep(Math.max(backoffMs, error.waitMs), this.#options.signal);
  }

  async #fetchRest(): Promise<void> {
    const attempt = new AbortController();
    const unlink = linked(this.#options.signal, attempt);
    const unwatch = this.#options.gate.watch(() => {
      attempt.abort(new Paused());
    });
    const stalled = () => {
      const seconds = this.#options.pace.stallMs / 1000;
      attempt.abort(
        new Interruption('network', `${this.#file.name}: nothing came for ${seconds} s`),
      );
    };
    const stall = { timer: setTimeout(stalled, this.#options.pace.stallMs) };
    const onProgress = () => {
      clearTimeout(stall.timer);
      stall.timer = setTimeout(stalled, this.#options.pace.stallMs);
    };
    try {
      const response = await this.#request(attempt.signal);
      onProgress();
      await this.#readBody(response, attempt.signal, onProgress);
    } finally {
      clearTimeout(stall.timer);
      unwatch();
      unlink();
      attempt.abort(); // whatever else the server sends
    }
  }

  async #request(signal: AbortSignal): Promise<Response> {
    const { name, sizeBytes } = this.#file;
    const from = chunkStart(this.#file, this.#chunk) + this.#filled;
    const to = chunkStart(this.#file, this.#chunk) + this.#bytes.length;
    const whole = from === 0 && to === sizeBytes;
    const response = await this.#source
      .fetch(this.#source.url, {
        signal,
        cache: this.#damages > 0 ? 'reload' : this.#source.cache,
        ...(!whole && { headers: { Range: `bytes=${from}-${to - 1}` } }),
      })
      .catch((error: unknown) => {
        throw interrupted(name, error, signal);
      });
    if (response.ok) this.#checkRange(response, whole, from, to);
    else throw refusal(name, response);
    return response;
  }

  #checkRange({ status, headers }: Response, whole: boolean, from: number, to: number): void {
    const { name } = this.#file;
    if (!whole && status !== 206) {
      throw new LocalphiError(
        'server',
        `${name}: wanted bytes ${from} to ${to - 1}, but the server sends whole files only`,
      );
    }
    const range = headers.get('Content-Range');
    if (!whole && range !== null && !range.startsWith(`bytes ${from}-${to - 1}/`)) {
      throw new LocalphiError('server', `${name}: wanted bytes ${from}-${to - 1}, got ${range}`);
    }
  }

  /** Takes at most what the chunk lacks; a body that ends early is an interruption. */
  async #readBody(response: Response, signal: AbortSignal, onProgress: () => void): Promise<void> {
    const reader = response.body?.getReader();
    while (this.#filled < this.#bytes.length) {
      const part = await reader?.read().catch((error: unknown) => {
        throw interrupted(this.#file.name, error, signal);
      });
      signal.throwIfAborted();
      if (part?.value === undefined) {
        throw new Interruption('network', `${this.#file.name}: the connection was cut`);
      }
      onProgress();
      this.#options.onRetry(false);
      const taken = part.value.subarray(0, this.#bytes.length - this.#filled);
      this.#bytes.set(taken, this.#filled);
      this.#filled += taken.length;
      this.#options.onBytes(taken.length);
      const unkept = this.#filled - this.#stored.filled(this.#chunk);
      if (unkept >= this.#options.pace.partBytes) {
        await this.#stored.keepPart(this.#chunk, this.#bytes.subarray(0, this.#filled));
      }
    }
  }
}

/** Statuses that another try may cure. */
const PASSING: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);

function refusal(name: string, { status, headers }: Response): Error {
  const why = status === 404 ? ': it has another version by now, or none' : '';
  const message = `${name}: the server answered ${status}${why}`;
  if (!PASSING.has(status)) return new LocalphiError('server', message);
  const retryAfterS = Number(headers.get('Retry-After') ?? 0);
  return new Interruption('server', message, Math.min(60, retryAfterS || 0) * 1000);
}

/** What a failed fetch means: our own wish where there was one, else a cut connection. */
function interrupted(name: string, error: unknown, signal: AbortSignal): Error {
  if (signal.aborted) return signal.reason as Error;
  return new Interruption('network', `${name} could not be fetched: ${messageOf(error)}`);
}

/** Aborts the controller with the signal, until the returned function is called. */
function linked(signal: AbortSignal, controller: AbortController): () => void {
  const abort = () => {
    controller.abort(signal.reason);
  };
  signal.addEventListener('abort', abort);
  if (signal.aborted) abort();
  return () => {
    signal.removeEventListener('abort', abort);
  };
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', abort);
      resolve();
    }, ms);
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
  });
}
