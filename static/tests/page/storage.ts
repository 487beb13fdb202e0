import { vi } from 'vitest';

/** Puts a storage in the place of the browser's. Fails on every write when `full`. */
export function stubStorage(name: 'localStorage' | 'sessionStorage', full = false) {
  const values = new Map<string, string>();
  vi.stubGlobal(name, {
    getItem: (key: string) => values.get(key) ?? null,
    setItem: (key: string, value: string) => {
      if (full) throw new DOMException('full', 'QuotaExceededError');
      values.set(key, value);
    },
    removeItem: (key: string) => values.delete(key),
  });
  return values;
}
