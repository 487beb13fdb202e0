import { afterEach, expect, test, vi } from 'vitest';

import { newId } from '../../page/new-id';

afterEach(() => {
  vi.unstubAllGlobals();
});

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

test('ids are UUIDs, and never the same', () => {
  expect(newId()).toMatch(UUID);
  expect(newId()).not.toBe(newId());
});

test('without TLS, too', () => {
  const random = crypto;
  vi.stubGlobal('crypto', {
    getRandomValues: (bytes: Uint8Array<ArrayBuffer>) => random.getRandomValues(bytes),
  });
  expect(newId()).toMatch(UUID);
  expect(newId()).not.toBe(newId());
});
