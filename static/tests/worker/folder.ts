/** The part of the origin private file system that the store uses, in memory. */
function notFound(name: string): DOMException {
  return new DOMException(name, 'NotFoundError');
}

class FakeFile {
  bytes = new Uint8Array(0);
  locked = false;
}

export class FakeFileHandle {
  readonly #file: FakeFile;
  readonly #room: { left: number };

  constructor(file: FakeFile, room: { left: number }) {
    this.#file = file;
    this.#room = room;
  }

  getFile(): Promise<Blob> {
    return Promise.resolve(new Blob([this.#file.bytes]));
  }

  createSyncAccessHandle() {
    const file = this.#file;
    if (file.locked) {
      return Promise.reject(new DOMException('locked', 'NoModificationAllowedError'));
    }
    file.locked = true;
    const grow = (size: number) => {
      this.#room.left -= size - file.bytes.length;
      if (this.#room.left < 0) throw new DOMException('full', 'QuotaExceededError');
      const bytes = new Uint8Array(size);
      bytes.set(file.bytes.subarray(0, size));
      file.bytes = bytes;
    };
    return Promise.resolve({
      getSize: () => file.bytes.length,
      truncate: grow,
      flush: () => {},
      close: () => {
        file.locked = false;
      },
      read: (into: Uint8Array, { at }: { at: number }) => {
        const part = file.bytes.subarray(at, at + into.length);
        into.set(part);
        return part.length;
      },
      write: (bytes: Uint8Array, { at }: { at: number }) => {
        if (at + bytes.length > file.bytes.length) grow(at + bytes.length);
        file.bytes.set(bytes, at);
        return bytes.length;
      },
    });
  }
}

/** room: bytes that may still be written. */
export class FakeFolder {
  readonly files = new Map<string, FakeFile>();
  readonly room: { left: number };

  constructor(room = Infinity) {
    this.room = { left: room };
  }

  getFileHandle(name: string, { create = false } = {}): Promise<FakeFileHandle> {
    let file = this.files.get(name);
    if (!file && !create) return Promise.reject(notFound(name));
    file ??= new FakeFile();
    this.files.set(name, file);
    return Promise.resolve(new FakeFileHandle(file, this.room));
  }

  getDirectoryHandle(): Promise<FakeFolder> {
    return Promise.resolve(this);
  }

  removeEntry(name: string): Promise<void> {
    const file = this.files.get(name);
    if (!file) return Promise.reject(notFound(name));
    if (file.locked) {
      return Promise.reject(new DOMException('locked', 'NoModificationAllowedError'));
    }
    this.files.delete(name);
    return Promise.resolve();
  }

  async *entries(): AsyncGenerator<[string, FakeFileHandle]> {
    for (const name of this.files.keys()) yield [name, await this.getFileHandle(name)];
  }

  write(name: string, bytes: Uint8Array<ArrayBuffer>): void {
    const file = new FakeFile();
    file.bytes = bytes;
    this.files.set(name, file);
  }
}
