/**
 * A file in the shape of a Uint8Array, of which ONNX Runtime reads one tensor after another.
 *
 * ONNX Runtime Web 1.30 takes weights as bytes or, in the JSPI build only, as a Blob. Bytes mean that the
 * whole file lies in memory twice while a session is made; a Blob and threads do not go together (see
 * `readWeights` in session.ts). Of bytes its loader uses `byteLength` and `subarray`, nothing else
 * (`mountExternalData` in ort-wasm-simd-threaded.*.mjs), and copies the stretch at once. So these two are
 * all there is: `length` is 0, and whatever else an update may come to use gives no bytes, which the
 * canary and the parity tests notice. Can go when the loader reads Blobs with threads.
 */
export class FileBytes extends Uint8Array<ArrayBuffer> {
  readonly #file: Blob;
  readonly #reader = new FileReaderSync();

  constructor(file: Blob) {
    super(new ArrayBuffer(0));
    this.#file = file;
    Object.defineProperty(this, 'byteLength', { value: file.size });
  }

  /** The bytes, read now. Throws when the file cannot be read. */
  override subarray(begin = 0, end = this.#file.size): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#reader.readAsArrayBuffer(this.#file.slice(begin, end)));
  }
}
