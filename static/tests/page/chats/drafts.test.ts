import { afterEach, expect, test, vi } from 'vitest';

import { forgetDraft, readDraft, writeDraft } from '../../../page/chats/drafts';
import { stubStorage } from '../storage';

afterEach(() => {
  vi.unstubAllGlobals();
});

test('each chat has its draft, and the new chat has one in its tab', () => {
  const lasting = stubStorage('localStorage');
  const ofTab = stubStorage('sessionStorage');
  writeDraft('a', true, 'for a');
  writeDraft('b', true, 'for b');
  writeDraft('new', false, 'for new');
  expect([readDraft('a', true), readDraft('b', true)]).toEqual(['for a', 'for b']);
  expect(readDraft('another-new', false)).toBe('for new');
  forgetDraft('a');
  writeDraft('b', true, '');
  expect([lasting.size, ofTab.size]).toEqual([0, 1]);
});

test('without storage there is no draft and no error', () => {
  writeDraft('a', true, 'x');
  expect(readDraft('a', true)).toBe('');
});
