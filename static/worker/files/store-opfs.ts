import type { FileEntry } from '../../shared/manifest';
import { chunkLength, chunkStart } from './chunks';
import { Journal } from './journal';
import type { FileStore, StoredFile } from './store';

const FOLDER = 'localphi-models';
const JOURNAL = '.journal';
const MANIFEST = '.manifest.json';
/** Written beside whole files by versions before 0.4, which had no journal. */
const OLD_RECORD = '.complete';

/**
 * The origin private file system, or null where the browser refuses it or cannot write to it in place
 * (private windows of some browsers, Safari before 15.2, storage switched off).
 */
export async function openOpfsStore(): Promise<FileStore | null> {
  try {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle(FOLDER, { create: true });
    // Missing in some browsers, whatever the types say.
    if (!('createSyncAccessHandle' in FileSystemFileHandle.prototype)) return null;
    return new OpfsStore(folder);
  } catch {
    return null;
  }
}

/** Each file is two: the data, and a journal of what of it is whole. */
class OpfsStore implements FileStore {
  readonly kind = 'opfs';
  readonly #folder: FileSystemDirectoryHandle;

  constructor(folder: FileSystemDirectoryHandle) {
    this.#folder = folder;
  }

  async open(file: FileEntry): Promise<StoredFile> {
    const data = await (await this.#find(file.sha256))?.getFile();
    const note = await (await this.#find(file.sha256 + JOURNAL))?.getFile();
    const size = data?.size ?? 0;
    const journal =
      note && size === file.sizeBytes ? Journal.parse(await note.arrayBuffer(), file) : null;
    return new OpfsFile(this.#folder, file, size, journal);
  }

  async remove(sha256: string): Promise<void> {
    // The data first: a journal without data says nothing.
    for (const suffix of ['', JOURNAL, OLD_RECORD]) await this.#delete(sha256 + suffix);
  }

  async list(): Promise<ReadonlyMap<string, number>> {
    const sizes = new Map<string, number>();
    for await (const [name, handle] of this.#folder.entries()) {
      const sha256 = name.slice(0, 64);
      const ours =
        /^[0-9a-f]{64}$/.test(sha256) && ['', JOURNAL, OLD_RECORD].includes(name.slice(64));
      if (!ours || !(handle instanceof FileSystemFileHandle)) continue;
      const { size } = await handle.getFile();
      sizes.set(sha256, (sizes.get(sha256) ?? 0) + size);
    }
    return sizes;
  }

  async manifests(): Promise<ReadonlyMap<string, string>> {
    const manifests = new Map<string, string>();
    for await (const [name, handle] of this.#folder.entries()) {
      if (!name.endsWith(MANIFEST) || !(handle instanceof FileSystemFileHandle)) continue;
      const file = await handle.getFile();
      manifests.set(name.slice(0, -MANIFEST.length), await file.text());
    }
    return manifests;
  }

  async writeManifest(modelId: string, text: string): Promise<void> {
    const handle = await this.#folder.getFileHandle(modelId + MANIFEST, { create: true });
    const access = await openAccess(handle);
    try {
      access.truncate(0);
      writeAll(access, new TextEncoder().encode(text), 0);
      access.flush();
    } finally {
      access.close();
    }
  }

  async removeManifest(modelId: string): Promise<void> {
    await this.#delete(modelId + MANIFEST);
  }

  async #find(name: string): Promise<FileSystemFileHandle | null> {
    try {
      return await this.#folder.getFileHandle(name);
    } catch (error) {
      if (isNamed(error, 'NotFoundError')) return null;
      throw error;
    }
  }

  async #delete(name: string): Promise<void> {
    try {
      await this.#folder.removeEntry(name);
    } catch (error) {
      if (!isNamed(error, 'NotFoundError')) throw error;
    }
  }
}

/** Both files of one file, opened for writing. */
interface Writing {
  readonly data: FileSystemSyncAccessHandle;
  readonly note: FileSystemSyncAccessHandle;
}

class OpfsFile implements StoredFile {
  readonly #folder: FileSystemDirectoryHandle;
  readonly #file: FileEntry;
  readonly #journal: Journal;
  #size: number;
  #unknown: boolean;
  #opening: Promise<Writing> | null = null;
  #writing: Writing | null = null;

  constructor(
    folder: FileSystemDirectoryHandle,
    file: FileEntry,
    size: number,
    journal: Journal | null,
  ) {
    this.#folder = folder;
    this.#file = file;
    this.#size = size;
    this.#journal = journal ?? Journal.blank(file);
    this.#unknown = journal === null && size > 0;
  }

  get unknown(): boolean {
    return this.#unknown;
  }

  get checkedAtMs(): number {
    return this.#journal.checkedAtMs;
  }

  get lackingBytes(): number {
    return Math.max(0, this.#file.sizeBytes - this.#size);
  }

  filled(chunk: number): number {
    return this.#journal.filled(chunk);
  }

  async reserve(): Promise<void> {
    await this.#write();
  }

  async read(chunk: number): Promise<Uint8Array<ArrayBuffer>> {
    const start = chunkStart(this.#file, chunk);
    const length = this.#unknown ? chunkLength(this.#file, chunk) : this.filled(chunk);
    if (this.#writing) {
      const bytes = new Uint8Array(length);
      return bytes.subarray(0, this.#writing.data.read(bytes, { at: start }));
    }
    try {
      const data = await (await this.#folder.getFileHandle(this.#file.sha256)).getFile();
      return new Uint8Array(await data.slice(start, start + length).arrayBuffer());
    } catch (error) {
      if (error instanceof DOMException) return new Uint8Array(0); // gone, or the disk is bad there
      throw error;
    }
  }

  async keepPart(chunk: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    // With its last bytes the chunk would count as whole; they come with `commit`.
    if (bytes.length >= chunkLength(this.#file, chunk)) return;
    await this.#append(chunk, bytes);
    this.#note(chunk, bytes.length);
  }

  async commit(chunk: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    if (this.filled(chunk) >= bytes.length) this.#journal.fill(chunk, 0);
    const { data } = await this.#append(chunk, bytes);
    data.flush();
    this.#note(chunk, bytes.length);
  }

  async vouch(chunk: number): Promise<void> {
    await this.#write();
    this.#note(chunk, chunkLength(this.#file, chunk));
  }

  async discard(chunk: number): Promise<void> {
    await this.#write();
    this.#note(chunk, 0);
  }

  async noteChecked(atMs: number): Promise<void> {
    const { note } = await this.#write();
    this.#journal.checkedAtMs = atMs;
    writeAll(note, this.#journal.bytes, 0);
    note.flush();
  }

  async blob(): Promise<Blob> {
    this.close();
    const file = await (await this.#folder.getFileHandle(this.#file.sha256)).getFile();
    // Private windows of Chromium take every write, and cut the file down to the quota afterwards.
    if (file.size !== this.#file.sizeBytes) {
      const { name, sizeBytes } = this.#file;
      const message = `of ${name}, ${file.size} of ${sizeBytes} bytes were kept`;
      throw new DOMException(message, 'QuotaExceededError');
    }
    return file;
  }

  close(): void {
    this.#writing?.data.close();
    this.#writing?.note.close();
    this.#writing = null;
    this.#opening = null;
  }

  /** Writes what the file lacks of the first bytes of a chunk. */
  async #append(chunk: number, bytes: Uint8Array<ArrayBuffer>): Promise<Writing> {
    const writing = await this.#write();
    const at = this.filled(chunk);
    writeAll(writing.data, bytes.subarray(at), chunkStart(this.#file, chunk) + at);
    return writing;
  }

  #note(chunk: number, bytes: number): void {
    this.#unknown = false;
    this.#journal.fill(chunk, bytes);
    // A journal is some kilobytes at most, so all of it is written each time.
    if (this.#writing) writeAll(this.#writing.note, this.#journal.bytes, 0);
  }

  /** Opens both files once, at their full size. */
  #write(): Promise<Writing> {
    this.#opening ??= this.#openBoth().catch((error: unknown) => {
      this.#opening = null;
      throw error;
    });
    return this.#opening;
  }

  async #openBoth(): Promise<Writing> {
    const { sha256, sizeBytes } = this.#file;
    const data = await openAccess(await this.#folder.getFileHandle(sha256, { create: true }));
    try {
      if (data.getSize() !== sizeBytes) data.truncate(sizeBytes);
      this.#size = sizeBytes;
      const handle = await this.#folder.getFileHandle(sha256 + JOURNAL, { create: true });
      const note = await openAccess(handle);
      note.truncate(this.#journal.bytes.length);
      await this.#folder.removeEntry(sha256 + OLD_RECORD).catch(() => {}); // rarely there
      this.#writing = { data, note };
      return this.#writing;
    } catch (error) {
      data.close();
      if (this.#size === 0) await this.#folder.removeEntry(sha256).catch(() => {});
      throw error;
    }
  }
}

/** How long the browser may need to let go of a file after a tab was closed, in steps. */
const RELEASE_STEPS = 20;
const RELEASE_STEP_MS = 100;

/** A handle to write with. A tab that was closed a moment ago may still hold the file. */
async function openAccess(handle: FileSystemFileHandle): Promise<FileSystemSyncAccessHandle> {
  for (let step = 0; ; step++) {
    try {
      return await handle.createSyncAccessHandle();
    } catch (error) {
      if (!isNamed(error, 'NoModificationAllowedError') || step === RELEASE_STEPS) throw error;
      await new Promise((resolve) => setTimeout(resolve, RELEASE_STEP_MS));
    }
  }
}

function writeAll(access: FileSystemSyncAccessHandle, bytes: Uint8Array<ArrayBuffer>, at: number) {
  const written = access.write(bytes, { at });
  if (written !== bytes.length) {
    throw new DOMException(`wrote ${written} of ${bytes.length} bytes`, 'QuotaExceededError');
  }
}

function isNamed(error: unknown, name: string): boolean {
  return error instanceof DOMException && error.name === name;
}
