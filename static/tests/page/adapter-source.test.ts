import { signal } from '@preact/signals';
import { afterEach, expect, test, vi } from 'vitest';

import { AdapterSource, adapterName } from '../../page/adapter-source';
import type { Backend } from '../../page/backend';
import { Settings } from '../../page/settings';
import { LocalphiError } from '../../shared/errors';
import { stubStorage } from './storage';

const LOST = new LocalphiError('network', 'away');

afterEach(() => {
  vi.unstubAllGlobals();
});

function backend(): Backend {
  return { chat: () => Promise.reject(LOST) };
}

test('an adapter of the model in use answers on the server, and nothing else does', async () => {
  stubStorage('localStorage');
  const own = backend();
  const asked: string[] = [];
  const engine = {
    modelId: signal('phi'),
    ready: () => Promise.resolve(own),
    replace: () => Promise.resolve('wasm' as const),
  };
  const settings = new Settings();
  const source = new AdapterSource(
    engine,
    (modelId) => {
      asked.push(modelId);
      return backend();
    },
    settings,
  );
  expect(await source.ready()).toBe(own);
  settings.set({ ...settings.value.value, adapter: 'phi:poems' });
  const adapted = await source.ready();
  expect(asked).toEqual(['phi:poems']);
  expect(source.adapter.value).toBe('poems');
  expect(await source.replace(adapted, LOST)).toBeNull(); // an answer without it would be another
  expect(await source.replace(own, LOST)).toBe('wasm');
  engine.modelId.value = 'phi-4';
  expect(source.adapter.value).toBeNull();
  expect(await source.ready()).toBe(own);
});

test('an adapter belongs to a model', () => {
  expect(adapterName('phi:poems', 'phi')).toBe('poems');
  expect(adapterName('phi:poems', 'ph')).toBeNull();
  expect(adapterName('', 'phi')).toBeNull();
  expect(adapterName('phi:', 'phi')).toBeNull();
  expect(adapterName('phi:poems', null)).toBeNull();
});
