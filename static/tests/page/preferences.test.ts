import { afterEach, expect, test, vi } from 'vitest';

import { parseLink, preferences, without } from '../../page/preferences';
import { stubStorage } from './storage';

afterEach(() => {
  vi.unstubAllGlobals();
});

test('a link says device, model and question', () => {
  expect(parseLink('?device=wasm&model=tiny&q=Hi%20there&debug=1')).toEqual({
    device: 'wasm',
    modelId: 'tiny',
    question: 'Hi there',
    debug: true,
  });
});

test('what a link does not say, or says wrongly, is null', () => {
  expect(parseLink('?device=abacus&q=+')).toEqual({
    device: null,
    modelId: null,
    question: null,
    debug: false,
  });
});

test('a question that was asked goes from the address, the rest stays', () => {
  expect(without('q', 'http://h/?q=Hi&device=wasm')).toBe('http://h/?device=wasm');
});

test('without storage there are defaults', () => {
  preferences.device = 'wasm';
  expect(preferences.device).toBe('auto');
  expect(preferences.modelId).toBeNull();
});

test('lengths that make no sense are as if nobody had chosen them', () => {
  const kept = stubStorage('localStorage');
  preferences.contextLengths = { phi: 4096 };
  expect(preferences.contextLengths).toEqual({ phi: 4096 });
  kept.set('localphi.context', '{"phi": 3, "demo": "long", "other": 512}');
  expect(preferences.contextLengths).toEqual({ other: 512 });
  kept.set('localphi.context', 'nonsense');
  expect(preferences.contextLengths).toEqual({});
});
