import { beforeEach, expect, test, vi } from 'vitest';

import { FileBytes } from '../../worker/runtime/file-bytes';

const read: [number, number][] = [];

/** A file that notes what is read of it. */
class FakeFile {
  readonly size = 10;

  slice(from: number, to: number) {
    read.push([from, to]);
    return { from, to };
  }
}

beforeEach(() => {
  read.length = 0;
  vi.stubGlobal(
    'FileReaderSync',
    class {
      readAsArrayBuffer({ from, to }: { from: number; to: number }) {
        return Uint8Array.from({ length: to - from }, (_, i) => from + i).buffer;
      }
    },
  );
});

function fileBytes(): FileBytes {
  return new FileBytes(new FakeFile() as unknown as Blob);
}

test('a file passes for its bytes, and none of them are read before they are wanted', () => {
  const bytes = fileBytes();
  expect(bytes).toBeInstanceOf(Uint8Array);
  expect(bytes.byteLength).toBe(10);
  expect(read).toEqual([]);
});

test('a stretch is read by itself, as the loader takes it', () => {
  const heap = new Uint8Array(8);
  heap.set(fileBytes().subarray(3, 6), 2);
  expect([...heap]).toEqual([0, 0, 3, 4, 5, 0, 0, 0]);
  expect(read).toEqual([[3, 6]]);
});

test('whatever else asks for bytes gets none, rather than wrong ones', () => {
  const bytes = fileBytes();
  expect(bytes.length).toBe(0);
  expect([...bytes]).toEqual([]);
});
