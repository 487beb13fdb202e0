/** float16, for which not every browser has arrays: as the bits of the numbers. */

/** The same numbers as float32. */
export function widened(halves: Uint16Array): Float32Array {
  const wide = new Uint32Array(halves.length);
  const subnormal = new Float32Array(1);
  const subnormalBits = new Uint32Array(subnormal.buffer);
  halves.forEach((bits, i) => {
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 0x3ff;
    subnormal[0] = fraction * 2 ** -24;
    const size =
      exponent === 31
        ? 0x7f800000 | (fraction << 13)
        : exponent === 0
          ? subnormalBits[0]!
          : ((exponent + 112) << 23) | (fraction << 13);
    wide[i] = (bits & 0x8000 ? 0x80000000 : 0) + size;
  });
  return new Float32Array(wide.buffer);
}

/** The nearest float16 to each number; of two that are as near, the even one. */
export function narrowed(floats: Float32Array): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
  return Uint16Array.from(floats, (value, i) => {
    const sign = (bits[i]! >>> 16) & 0x8000;
    const size = Math.abs(value);
    if (Number.isNaN(value)) return sign | 0x7e00;
    if (size >= 65520) return sign | 0x7c00; // nearer to infinity than to 65504
    if (size < 2 ** -14) return sign | even(size * 2 ** 24); // below, all are as far apart
    const exponent = ((bits[i]! >>> 23) & 0xff) - 127;
    return sign | (even((size / 2 ** exponent - 1) * 1024) + ((exponent + 15) << 10));
  });
}

/** The nearest whole number, the even one of two. */
function even(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return floor + (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? 1 : 0);
}
