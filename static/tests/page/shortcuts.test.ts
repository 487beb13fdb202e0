import { expect, test } from 'vitest';

import { actionOf } from '../../page/shortcuts';
import type { Key } from '../../page/shortcuts';

const NONE = { ctrlKey: false, metaKey: false, shiftKey: false, altKey: false, isComposing: false };
const press = (key: string, held: Partial<Key> = {}, typing = false) =>
  actionOf({ ...NONE, key, ...held }, !typing);

test('keys do what the help says', () => {
  expect(press('?', { shiftKey: true })).toBe('help');
  expect(press('/')).toBe('composer');
  expect(press('k', { ctrlKey: true })).toBe('search');
  expect(press('K', { metaKey: true })).toBe('search');
  expect(press('O', { ctrlKey: true, shiftKey: true })).toBe('new-chat');
  expect(press('Escape')).toBe('stop');
  expect(press('a')).toBeNull();
});

test('who types, types', () => {
  expect(press('?', {}, true)).toBeNull();
  expect(press('/', {}, true)).toBeNull();
  expect(press('k', { ctrlKey: true }, true)).toBe('search');
  expect(press('Escape', {}, true)).toBe('stop');
});

test('keys of the browser and of input methods are left alone', () => {
  expect(press('k', { ctrlKey: true, altKey: true })).toBeNull();
  expect(press('o', { ctrlKey: true })).toBeNull();
  expect(press('Escape', { isComposing: true })).toBeNull();
});
