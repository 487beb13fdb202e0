/** Numbers of 16 bits, as GPUs compute with them: float16 of IEEE 754. */

export const HALF_BYTES = 2;

/** The same numbers in float32. bits: of each float16. */
export function floatsOf(bits: Uint16Array): Float32Array {
  const words = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) words[i] = widened(bits[i]!);
  return new Float32Array(words.buffer);
}

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/** The bits of a float32 from those of a float16. */
function widened(bits: number): number {
  const sign = (bits & 0x8000) << 16;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return (sign | 0x7f800000 | (fraction << 13)) >>> 0;
  if (exponent > 0) return (sign | ((exponent + 112) << 23) | (fraction << 13)) >>> 0;
  scratch[0] = fraction * 2 ** -24;
  return (sign | scratchBits[0]!) >>> 0;
}
