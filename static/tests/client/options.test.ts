import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import type { PhiOptions } from '../../client/api';
import { parseOptions } from '../../client/options';

beforeEach(() => {
  vi.stubGlobal('location', { href: 'https://app.example/chat/' });
});

afterEach(() => {
  vi.unstubAllGlobals();
});

test('nothing is needed', () => {
  expect(parseOptions({})).toEqual({
    ...{ model: null, device: 'auto', server: true, baseUrl: undefined },
    ...{ apiKey: null, persist: false },
  });
});

test.each([
  ['http://localhost:8000/', 'http://localhost:8000'],
  ['https://app.example/phi//', 'https://app.example/phi'],
  ['/phi', 'https://app.example/phi'],
])('%s is the server %s', (baseUrl, expected) => {
  expect(parseOptions({ baseUrl }).baseUrl).toBe(expected);
});

test.each([
  [{ baseUrl: 'ftp://app.example' }, 'baseUrl must be an http or https address'],
  [{ device: 'abacus' }, ", but is 'abacus'"],
  [{ device: 'server', server: false }, 'exclude each other'],
  [{ modle: 'demo' }, "there is no option 'modle'"],
])('%j is refused by name', (options, message) => {
  expect(() => parseOptions(options as PhiOptions)).toThrow(message);
});
