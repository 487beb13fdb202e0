/**
 * JSON numbers within bounds, multiples of a step, written without an exponent and with no more digits after
 * the point than the step has. These are llguidance's numbers, which the server's grammar is made of; so a
 * fraction that reaches the bound farther from 0 has no zeros after it, and one behind an excluded whole
 * number does not end with 0.
 */

/** A number as digits and a scale: units × 10^-scale. */
interface Decimal {
  readonly units: bigint;
  readonly scale: number;
}

export interface NumberBounds {
  readonly integer: boolean;
  readonly minimum: number;
  readonly maximum: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly multipleOf?: number;
}

/** Magnitudes of one sign, in units: low to high, both included. None where low is above high. */
interface Span {
  readonly low: bigint;
  readonly high: bigint;
  /** Where the bound itself has digits after the point: how many. */
  readonly highDigits: number;
  /** Where the nearer bound is a whole number and excluded: it, as a text. */
  readonly openWhole: string | null;
}

const NONE: Span = { low: 1n, high: 0n, highDigits: 0, openWhole: null };
const NUMBER = /^(-?)(0|[1-9]\d*)?(?:\.(\d*))?$/;

export class NumberRule {
  /** Tells rules apart. */
  readonly name: string;
  readonly #digits: number;
  readonly #scale: number;
  readonly #step: bigint;
  readonly #negative: Span;
  readonly #positive: Span;

  /** multipleOf must be above 0. */
  constructor(bounds: NumberBounds) {
    this.name = JSON.stringify(bounds);
    const step = decimalOf(bounds.multipleOf ?? 1);
    this.#digits = bounds.integer ? 0 : step.scale;
    this.#scale = step.scale;
    this.#step = lcm(step.units, 10n ** BigInt(this.#scale - this.#digits));
    const { minimum, maximum, exclusiveMinimum = -Infinity, exclusiveMaximum = Infinity } = bounds;
    const open = exclusiveMinimum >= minimum; // the tighter of the two
    const openAbove = exclusiveMaximum <= maximum;
    const [from, to] = [open ? exclusiveMinimum : minimum, openAbove ? exclusiveMaximum : maximum];
    const low = bounds.integer ? Math.ceil(from) : from;
    const high = bounds.integer ? Math.floor(to) : to;
    if (low === high) this.#digits = Math.min(this.#digits, decimalOf(low).scale);
    // There is -0, but no -0.0.
    const [lowOpen, highOpen] = [open && low === from, openAbove && high === to];
    this.#negative =
      low < 0
        ? this.#span(Math.max(0, -high), -low, high < 0 ? highOpen : !bounds.integer, lowOpen)
        : NONE;
    this.#positive =
      high >= 0 ? this.#span(Math.max(0, low), high, low >= 0 && lowOpen, highOpen) : NONE;
  }

  /** Whether the text is such a number. */
  holds(text: string): boolean {
    const [, sign, whole, fraction] = NUMBER.exec(text) ?? [];
    if (whole === undefined || fraction === '') return false;
    if (fraction !== undefined && this.#endsOpen(whole, fraction, sign === '-')) return false;
    const units = this.#units(whole, fraction ?? '');
    return this.begins(text) && this.#any(units, units, sign === '-');
  }

  /** Whether such a number begins with the text. */
  begins(text: string): boolean {
    const match = NUMBER.exec(text);
    if (!match) return false;
    const [, sign, whole, fraction] = match;
    const minus = sign === '-';
    if (whole === undefined) {
      if (fraction !== undefined) return false;
      return this.#anyOf(minus) || (!minus && this.#anyOf(true));
    }
    if (fraction === undefined) return this.#wholeBegins(whole, minus);
    if (fraction.length > this.#digits || this.#digits === 0) return false;
    if (this.#zerosBehindBound(whole, fraction, minus)) return false;
    if (fraction.length === this.#digits && this.#endsOpen(whole, fraction, minus)) return false;
    const low = this.#units(whole, fraction);
    return this.#any(low, low + this.#unit(fraction.length) - 1n, minus);
  }

  #wholeBegins(whole: string, minus: boolean): boolean {
    const { high } = minus ? this.#negative : this.#positive;
    let [low, next] = [BigInt(whole), BigInt(whole) + 1n];
    const one = this.#unit(0);
    for (; low * one <= high; [low, next] = [low * 10n, next * 10n]) {
      if (this.#any(low * one, next * one - 1n, minus)) return true;
      if (whole === '0') return false;
    }
    return false;
  }

  #anyOf(minus: boolean): boolean {
    const { low, high } = minus ? this.#negative : this.#positive;
    return this.#any(low, high, minus);
  }

  /** Whether a number of that sign lies between the magnitudes. */
  #any(from: bigint, to: bigint, minus: boolean): boolean {
    const span = minus ? this.#negative : this.#positive;
    const low = from > span.low ? from : span.low;
    const high = to < span.high ? to : span.high;
    const least = ((low + this.#step - 1n) / this.#step) * this.#step;
    return least <= high;
  }

  #zerosBehindBound(whole: string, fraction: string, minus: boolean): boolean {
    const { high, highDigits } = minus ? this.#negative : this.#positive;
    return highDigits > 0 && fraction.length > highDigits && this.#units(whole, fraction) === high;
  }

  #endsOpen(whole: string, fraction: string, minus: boolean): boolean {
    const { openWhole } = minus ? this.#negative : this.#positive;
    return whole === openWhole && fraction.endsWith('0');
  }

  #units(whole: string, fraction: string): bigint {
    return BigInt(whole + fraction.padEnd(this.#scale, '0'));
  }

  /** Units of the last of so many digits after the point. */
  #unit(digits: number): bigint {
    return 10n ** BigInt(this.#scale - digits);
  }

  /** low and high: magnitudes. */
  #span(low: number, high: number, lowOpen: boolean, highOpen: boolean): Span {
    const from = this.#rounded(decimalOf(low), 'up');
    const to = this.#rounded(decimalOf(high), 'down');
    return {
      low: lowOpen && from.exact ? from.units + 1n : from.units,
      high: highOpen && to.exact ? to.units - 1n : to.units,
      highDigits: highOpen ? 0 : decimalOf(high).scale,
      openWhole: lowOpen && Number.isInteger(low) ? String(low) : null,
    };
  }

  #rounded({ units, scale }: Decimal, way: 'up' | 'down'): { units: bigint; exact: boolean } {
    if (scale <= this.#scale) {
      return { units: units * 10n ** BigInt(this.#scale - scale), exact: true };
    }
    const divisor = 10n ** BigInt(scale - this.#scale);
    const down = units / divisor;
    const exact = down * divisor === units;
    return { units: way === 'up' && !exact ? down + 1n : down, exact };
  }
}

/** A number as JavaScript writes it, taken by its digits. */
function decimalOf(value: number): Decimal {
  const [digits = '', exponent = '0'] = String(value).split('e');
  const [whole = '', fraction = ''] = digits.split('.');
  const units = BigInt(whole + fraction);
  const scale = fraction.length - Number(exponent);
  return scale >= 0 ? { units, scale } : { units: units * 10n ** BigInt(-scale), scale: 0 };
}

function lcm(a: bigint, b: bigint): bigint {
  let [x, y] = [a, b];
  while (y > 0n) [x, y] = [y, x % y];
  return (a / x) * b;
}
