/** Parsed JSON made into values that cannot be wrong, or a `manifest` error that names the place. */
import { LocalphiError } from './errors';

export type JsonObject = Readonly<Record<string, unknown>>;

export function asObject(value: unknown, where: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw wrong(where, 'an object', value);
  }
  return value as JsonObject;
}

export function asArray(value: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(value)) throw wrong(where, 'a list', value);
  return value as readonly unknown[];
}

export function asString(value: unknown, where: string): string {
  if (typeof value !== 'string') throw wrong(where, 'a string', value);
  return value;
}

export function asNumber(value: unknown, where: string): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw wrong(where, 'a number', value);
  return value;
}

/** A whole number, zero or more. */
export function asCount(value: unknown, where: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) {
    throw wrong(where, 'a whole number', value);
  }
  return value as number;
}

export function asStrings(value: unknown, where: string): readonly string[] {
  return asArray(value, where).map((item, i) => asString(item, `${where}[${i}]`));
}

export function asCounts(value: unknown, where: string): readonly number[] {
  return asArray(value, where).map((item, i) => asCount(item, `${where}[${i}]`));
}

/** Throws a `manifest` error for text that is not JSON. */
export function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new LocalphiError('manifest', `${where} is not JSON`, { cause: error });
  }
}

function wrong(where: string, wanted: string, came: unknown): LocalphiError {
  const shown = came === undefined ? 'missing' : JSON.stringify(came).slice(0, 60);
  return new LocalphiError('manifest', `${where} should be ${wanted}, but is ${shown}`);
}
