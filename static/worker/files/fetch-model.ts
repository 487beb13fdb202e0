/** Model files: from the store where they are whole, else from the server, verified and stored. */
import { LocalphiError, messageOf } from '../../shared/errors';
import { parseJson } from '../../shared/json';
import { parseManifest } from '../../shared/manifest';
import type { FileEntry, Manifest } from '../../shared/manifest';
import type { CheckReport, LoadProgress } from '../../shared/protocol';
import { damagedChunks, filledBytes, isChunk, missingChunks } from './chunks';
import { PACE, download } from './download';
import type { Pace, Source } from './download';
import type { Gate } from './gate';
import { fileLock, withLock } from './locks';
import { Meter } from './meter';
import { freeBytes } from './space';
import type { FileStore, StoredFile } from './store';
import { MemoryStore } from './store-memory';
import { openTabs } from './tabs';
import { serverFetch } from '../server-fetch';

export interface FetchedManifest {
  readonly manifest: Manifest;
  /** False when the server was out of reach and the manifest is the one of an earlier visit. */
  readonly fresh: boolean;
}

export interface FilesListener {
  onProgress(progress: LoadProgress): void;
  /** A large download is about to begin. */
  onPlan(fetchBytes: number): Promise<void>;
  /**
   * The browser will not keep so much; freeBytes: what it would, null where it does not tell.
   * Resolves to go on without keeping, rejects to stop.
   */
  onSpace(needsBytes: number, freeBytes: number | null): Promise<void>;
}

export interface FilesOptions extends FilesListener {
  /** Closed while the download is paused. */
  readonly gate: Gate;
  readonly signal: AbortSignal;
}

interface Surroundings {
  readonly fetch: typeof fetch;
  readonly pace: Pace;
  /** From this size on it is worth a question. */
  readonly largeBytes: number;
  freeBytes(): Promise<number | null>;
}

const LARGE_BYTES = 64 * 1024 * 1024;

export class ModelFetcher {
  readonly #modelId: string;
  readonly #store: FileStore;
  readonly #around: Surroundings;
  /** Takes what the store refuses. */
  readonly #overflow = new MemoryStore();
  #refused = false;

  constructor(modelId: string, store: FileStore, around: Partial<Surroundings> = {}) {
    this.#modelId = modelId;
    this.#store = store;
    const own = { fetch: serverFetch, pace: PACE, largeBytes: LARGE_BYTES, freeBytes };
    this.#around = { ...own, ...around };
  }

  /** Whether every file so far will be there on the next visit. */
  get lasting(): boolean {
    return this.#store.kind !== 'memory' && !this.#refused;
  }

  /**
   * The server's manifest, or the stored one when the server is out of reach.
   * Rejects with `network` when there is neither, `server` for an HTTP error, `manifest` if unusable.
   */
  async manifest(): Promise<FetchedManifest> {
    let text: string;
    try {
      text = await this.#manifestText();
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
   * The files by name, whole. Their bytes were compared with the manifest when they came; those of a
   * single chunk are compared each time.
   * Rejects with `network`, `server` or `damaged`, or with the signal's reason; what has arrived stays.
   */
  async files(
    entries: readonly FileEntry[],
    options: FilesOptions,
  ): Promise<ReadonlyMap<string, Blob>> {
    const tabs = openTabs(this.#modelId);
    const meter = new Meter(totalBytes(entries), (progress) => {
      options.onProgress(progress);
      if (progress.stage !== 'waiting') tabs.tell(progress);
    });
    const unwatch = options.gate.watch(() => {
      meter.become({ state: options.gate.closed ? 'paused' : 'running' });
    });
    try {
      await this.#plan(entries, options);
      const blobs = new Map<string, Blob>();
      // The largest first: a store that refuses it is better known before than after all the others.
      for (const entry of entries.toSorted((a, b) => b.sizeBytes - a.sizeBytes)) {
        const others = { stop: () => {} };
        const blob = await withLock(
          fileLock(entry.sha256),
          () => this.#file(entry, meter, options),
          {
            signal: options.signal,
            onWait: (waiting) => {
              others.stop();
              meter.become({ stage: waiting ? 'waiting' : 'files' });
              if (waiting) {
                others.stop = tabs.listen((progress) => {
                  options.onProgress({ ...progress, stage: 'waiting' });
                });
              }
            },
          },
        );
        blobs.set(entry.name, blob);
      }
      meter.become({ stage: 'session' });
      return blobs;
    } finally {
      unwatch();
      tabs.close();
    }
  }

  /**
   * Compares stored files with the manifest and fetches damaged chunks again: those files that were last
   * compared before `beforeMs` of the epoch. Files that are not whole are left alone.
   */
  async check(
    entries: readonly FileEntry[],
    beforeMs: number,
    { gate, signal }: Pick<FilesOptions, 'gate' | 'signal'>,
  ): Promise<CheckReport> {
    let checkedBytes = 0;
    const repaired: string[] = [];
    for (const entry of entries) {
      const stored = await this.#store.open(entry);
      if (stored.unknown || missingChunks(entry, stored).length > 0) continue;
      if (stored.checkedAtMs >= beforeMs) continue;
      const damaged = await damagedChunks(entry, stored, { signal });
      checkedBytes += entry.sizeBytes;
      if (damaged.length > 0) repaired.push(entry.name);
      await withLock(fileLock(entry.sha256), () => this.#mend(entry, damaged, { gate, signal }), {
        signal,
      });
    }
    return { checkedBytes, repaired };
  }

  /** Asks whatever there is to ask before a long download. */
  async #plan(entries: readonly FileEntry[], options: FilesOptions): Promise<void> {
    let fetchBytes = 0;
    let lackingBytes = 0;
    for (const entry of entries) {
      const stored = await this.#store.open(entry);
      lackingBytes += stored.lackingBytes;
      if (!stored.unknown) fetchBytes += entry.sizeBytes - filledBytes(entry, stored);
    }
    if (this.#store.kind === 'memory') {
      if (fetchBytes >= this.#around.largeBytes) await options.onSpace(lackingBytes, 0);
      return;
    }
    if (fetchBytes >= this.#around.largeBytes) await options.onPlan(fetchBytes);
    const free = await this.#around.freeBytes();
    if (free !== null && lackingBytes > free) await this.#refuse(lackingBytes, free, options);
  }

  /** From here on nothing more is stored. Asks first, unless it is so little that nobody minds. */
  async #refuse(
    needsBytes: number,
    freeNow: number | null,
    listener: FilesListener,
  ): Promise<void> {
    // Chromium's estimate is made up for privacy; one that a refusal has disproved is not told on.
    const free = freeNow !== null && freeNow < needsBytes ? freeNow : null;
    if (!this.#refused && needsBytes >= this.#around.largeBytes)
      await listener.onSpace(needsBytes, free);
    this.#refused = true;
  }

  /** The content of the file. Its lock is held. */
  async #file(entry: FileEntry, meter: Meter, options: FilesOptions): Promise<Blob> {
    if (entry.sizeBytes === 0) return new Blob([]);
    try {
      const blob = await this.#fill(entry, this.#store, meter, options);
      if (blob) return blob;
    } catch (error) {
      options.signal.throwIfAborted();
      if (error instanceof LocalphiError) throw error;
      console.warn(`localphi: ${entry.name} cannot be kept:`, error);
      await this.#refuse(entry.sizeBytes, await this.#around.freeBytes(), options);
      await this.#takeAlong(entry);
    }
    return (await this.#fill(entry, this.#overflow, meter, options))!;
  }

  /**
   * Makes the file whole. Null when it is not, and the store may not take more.
   * Rejects with what the store threw when it refused.
   */
  async #fill(
    entry: FileEntry,
    store: FileStore,
    meter: Meter,
    options: FilesOptions,
  ): Promise<Blob | null> {
    const stored = await store.open(entry);
    try {
      await this.#examine(entry, stored, options);
      meter.set(entry.name, filledBytes(entry, stored));
      if (missingChunks(entry, stored).length > 0) {
        if (this.#refused && store === this.#store) return null;
        await stored.reserve();
        await this.#download(entry, stored, meter, options);
        if (stored.checkedAtMs === 0) await stored.noteChecked(Date.now());
      }
      return await stored.blob();
    } finally {
      stored.close();
    }
  }

  /** Finds out what of the file is whole, where nothing tells it or it costs nothing. */
  async #examine(entry: FileEntry, stored: StoredFile, { signal }: FilesOptions): Promise<void> {
    const whole = missingChunks(entry, stored).length === 0;
    if (!stored.unknown && !(whole && entry.chunks.length === 1)) return;
    const damaged = new Set(await damagedChunks(entry, stored, { signal }));
    if (stored.unknown) {
      for (const chunk of entry.chunks.keys()) if (!damaged.has(chunk)) await stored.vouch(chunk);
    } else {
      for (const chunk of damaged) await stored.discard(chunk);
    }
  }

  #download(
    entry: FileEntry,
    stored: StoredFile,
    meter: Meter,
    { gate, signal }: Pick<FilesOptions, 'gate' | 'signal'>,
  ): Promise<void> {
    return download(entry, stored, this.#source(entry), {
      pace: this.#around.pace,
      gate,
      signal,
      onBytes: (bytes) => {
        meter.add(entry.name, bytes);
      },
      onRetry: (retrying) => {
        if (!gate.closed) meter.become({ state: retrying ? 'retrying' : 'running' });
      },
    });
  }

  /** What the store has of a file that it will take no more of. */
  async #takeAlong(entry: FileEntry): Promise<void> {
    const from = await this.#store.open(entry);
    const to = await this.#overflow.open(entry);
    for (const chunk of entry.chunks.keys()) {
      const bytes = await from.read(chunk);
      if (await isChunk(entry, chunk, bytes)) await to.commit(chunk, bytes);
    }
  }

  /** Fetches the damaged chunks again, and notes that the file was compared. */
  async #mend(
    entry: FileEntry,
    damaged: readonly number[],
    options: { gate: Gate; signal: AbortSignal },
  ): Promise<void> {
    const stored = await this.#store.open(entry);
    try {
      for (const chunk of damaged) await stored.discard(chunk);
      await this.#download(entry, stored, new Meter(entry.sizeBytes, () => {}), options);
      await stored.noteChecked(Date.now());
    } finally {
      stored.close();
    }
  }

  async #storedManifest(): Promise<Manifest | null> {
    const text = (await this.#store.manifests()).get(this.#modelId);
    return text === undefined ? null : parse(text);
  }

  async #keepManifest(text: string): Promise<void> {
    try {
      await withLock('localphi-manifests', () => this.#store.writeManifest(this.#modelId, text), {
        signal: NEVER,
      });
    } catch {
      this.#refused = true;
    }
  }

  async #manifestText(): Promise<string> {
    const name = 'localphi.json';
    const unreachable = (error: unknown) => {
      const message = `${name} could not be fetched: ${messageOf(error)}`;
      throw new LocalphiError('network', message, { cause: error });
    };
    const response = await this.#around
      .fetch(this.#address(name), { cache: 'no-cache' })
      .catch(unreachable);
    if (!response.ok) {
      throw new LocalphiError('server', `${name}: the server answered ${response.status}`);
    }
    return response.text().catch(unreachable);
  }

  /** With its hash in the address, a file may be cached for ever, and a changed one is not found. */
  #source({ name, sha256 }: FileEntry): Source {
    const cache = this.#store.kind === 'memory' ? 'default' : 'no-store';
    return { url: `${this.#address(name)}?v=${sha256}`, cache, fetch: this.#around.fetch };
  }

  #address(name: string): string {
    const path = [this.#modelId, ...name.split('/')].map(encodeURIComponent);
    return ['/models', ...path].join('/');
  }
}

const NEVER = new AbortController().signal;

function totalBytes(entries: readonly FileEntry[]): number {
  return entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

function parse(text: string): Manifest {
  return parseManifest(parseJson(text, 'localphi.json'));
}

function isNetworkError(error: unknown): boolean {
  return error instanceof LocalphiError && error.kind === 'network';
}
