import type { FileStore, FileWriter } from './store';

const FOLDER = 'localphi-models';
/** Written after the data it vouches for; data without it does not count. */
const RECORD = '.complete';
const MANIFEST = '.manifest.json';

/**
 * The origin private file system, or null where the browser refuses it
 * (private windows of some browsers, storage switched off).
 */
export async function openOpfsStore(): Promise<FileStore | null> {
  try {
    const root = await navigator.storage.getDirectory();
    return new OpfsStore(await root.getDirectoryHandle(FOLDER, { create: true }));
  } catch {
    return null;
  }
}

/** Each file is two: the data, then an empty record that makes it valid. */
class OpfsStore implements FileStore {
  readonly lasting = true;
  readonly #folder: FileSystemDirectoryHandle;

  constructor(folder: FileSystemDirectoryHandle) {
    this.#folder = folder;
  }

  async open(sha256: string): Promise<Blob | null> {
    const record = await this.#find(sha256 + RECORD);
    const data = record && (await this.#find(sha256));
    return data && (await data.getFile());
  }

  async create(sha256: string, sizeBytes: number): Promise<FileWriter> {
    await this.remove(sha256);
    const handle = await this.#folder.getFileHandle(sha256, { create: true });
    const access = await handle.createSyncAccessHandle();
    try {
      // Ask for all the space at once: better refused now than after a long download.
      access.truncate(sizeBytes);
    } catch (error) {
      access.close();
      await this.remove(sha256);
      throw error;
    }
    return this.#writer(sha256, handle, access);
  }

  async remove(sha256: string): Promise<void> {
    await this.#delete(sha256 + RECORD);
    await this.#delete(sha256);
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
    const access = await handle.createSyncAccessHandle();
    try {
      access.truncate(0);
      access.write(new TextEncoder().encode(text));
      access.flush();
    } finally {
      access.close();
    }
  }

  async prune(keep: ReadonlySet<string>): Promise<void> {
    for await (const name of this.#folder.keys()) {
      const sha256 = name.endsWith(RECORD) ? name.slice(0, -RECORD.length) : name;
      if (isSha256(sha256) && !keep.has(sha256)) await this.#delete(name);
    }
  }

  #writer(
    sha256: string,
    handle: FileSystemFileHandle,
    access: FileSystemSyncAccessHandle,
  ): FileWriter {
    let at = 0;
    return {
      write: (bytes) => {
        at += access.write(bytes, { at });
      },
      commit: async () => {
        access.flush();
        access.close();
        await this.#folder.getFileHandle(sha256 + RECORD, { create: true });
        return handle.getFile();
      },
      abort: async () => {
        access.close();
        await this.remove(sha256);
      },
    };
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

function isSha256(name: string): boolean {
  return /^[0-9a-f]{64}$/.test(name);
}

function isNamed(error: unknown, name: string): boolean {
  return error instanceof DOMException && error.name === name;
}
