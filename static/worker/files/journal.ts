/**
 * What is known of a file in the origin private file system, in a small file beside it.
 *
 *   0   float64  when every chunk was last compared with the manifest, ms of the epoch
 *   8   uint32   MAGIC
 *   12  uint32   bytes of a chunk
 *   16  uint32   for each chunk, the bytes at hand; its whole length once it was verified
 *
 * Little-endian. A number is written after the bytes it vouches for.
 */
import type { FileEntry } from '../../shared/manifest';
import { chunkLength } from './chunks';

const MAGIC = 0x6a_4c_70_01;
const HEADER_BYTES = 16;

export class Journal {
  readonly #view: DataView<ArrayBuffer>;

  private constructor(view: DataView<ArrayBuffer>) {
    this.#view = view;
  }

  /** A file of which nothing is at hand. */
  static blank(file: FileEntry): Journal {
    const view = new DataView(new ArrayBuffer(HEADER_BYTES + 4 * file.chunks.length));
    view.setUint32(8, MAGIC, true);
    view.setUint32(12, file.chunkBytes, true);
    return new Journal(view);
  }

  /** Null unless the bytes are a journal of this file, in these chunks. */
  static parse(bytes: ArrayBuffer, file: FileEntry): Journal | null {
    if (bytes.byteLength !== HEADER_BYTES + 4 * file.chunks.length) return null;
    const view = new DataView(bytes);
    if (view.getUint32(8, true) !== MAGIC) return null;
    if (view.getUint32(12, true) !== file.chunkBytes) return null;
    const journal = new Journal(view);
    const fits = file.chunks.every((_, i) => journal.filled(i) <= chunkLength(file, i));
    return fits ? journal : null;
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#view.buffer);
  }

  get checkedAtMs(): number {
    return this.#view.getFloat64(0, true);
  }

  set checkedAtMs(atMs: number) {
    this.#view.setFloat64(0, atMs, true);
  }

  filled(chunk: number): number {
    return this.#view.getUint32(HEADER_BYTES + 4 * chunk, true);
  }

  fill(chunk: number, bytes: number): void {
    this.#view.setUint32(HEADER_BYTES + 4 * chunk, bytes, true);
  }
}
