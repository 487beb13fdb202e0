import { expect, test } from 'vitest';

import { readAdapter } from '../../worker/runtime/adapter-file';

/** Files that ONNX Runtime 1.30 wrote: one of two float32 tensors, one of a float16 tensor. */
const FILE = bytesOf(
  `DAAAAFRPUlQAAAAAeP///wEAAAABAAAAAQAAAAQAAAACAAAAfAAAAAQAAACY////NAAAABgAAAABAAAABAAAAAgAAAAAAAA/AACA
   wAIAAAABAAAAAAAAAAIAAAAAAAAAAAAAACgAAABtb2RlbC5sYXllcnMuMC5hdHRuLm9fcHJvai5sb3JhX0Iud2VpZ2h0AAAAAAwA
   FAAEAAgADAAQAAwAAAA0AAAAHAAAAAEAAAAEAAAADAAAAAAAgD8AAABAAABAQAIAAAADAAAAAAAAAAEAAAAAAAAAKAAAAG1vZGVs
   LmxheWVycy4wLmF0dG4ub19wcm9qLmxvcmFfQS53ZWlnaHQAAAAA`,
);
const HALF = bytesOf(
  `CAAAAFRPUlTk////AQAAAAEAAAABAAAABAAAAAEAAAAQAAAADAAUAAQACAAMABAADAAAACQAAAAUAAAACgAAAAQAAAACAAAAADwAAAEA
   AAABAAAAAAAAAAEAAAB4AAAA`,
);
const SITE = 'model.layers.0.attn.o_proj';

function bytesOf(base64: string): ArrayBuffer {
  return Uint8Array.from(atob(base64.replaceAll(/\s/g, '')), (char) => char.charCodeAt(0)).buffer;
}

test('the tensors of a file come by their names', () => {
  expect(readAdapter(FILE)).toEqual(
    new Map([
      [`${SITE}.lora_A.weight`, { dims: [3, 1], values: Float32Array.of(1, 2, 3) }],
      [`${SITE}.lora_B.weight`, { dims: [1, 2], values: Float32Array.of(0.5, -4) }],
    ]),
  );
});

test('numbers of another type are refused', () => {
  expect(() => readAdapter(HALF)).toThrow('has x in numbers of type 10, not float32');
});

test('what is no such file is refused', () => {
  const text = new TextEncoder().encode('{"json": "is no adapter"}');
  expect(() => readAdapter(text.buffer)).toThrow('does not begin as one');
});

test('wherever a file is cut off, that is said and nothing else breaks', () => {
  for (let length = 0; length < FILE.byteLength; length++) {
    try {
      readAdapter(FILE.slice(0, length));
    } catch (error) {
      expect(error).toMatchObject({ kind: 'adapter' });
    }
  }
  expect(() => readAdapter(FILE.slice(0, 100))).toThrow('cannot be read');
});
