import { afterEach, expect, test, vi } from 'vitest';

import {
  DEFAULTS,
  Settings,
  parseNumber,
  parseSchema,
  parseStops,
  showStops,
} from '../../page/settings';
import { stubStorage } from './storage';

afterEach(() => {
  vi.unstubAllGlobals();
});

test('what is set is kept, and only that goes with a question', () => {
  stubStorage('localStorage');
  new Settings().set({ ...DEFAULTS, systemPrompt: ' Be brief. ', temperature: 0, stop: ['\n'] });
  expect(new Settings().forAnswer()).toEqual({
    systemPrompt: 'Be brief.',
    options: { temperature: 0, stop: ['\n'] },
  });
  new Settings().set(DEFAULTS);
  expect(new Settings().forAnswer()).toEqual({ systemPrompt: '', options: {} });
});

test('a schema and tools go along where they are set', () => {
  stubStorage('localStorage');
  new Settings().set({ ...DEFAULTS, schema: '{"type": "null"}', tools: true });
  expect(new Settings().forAnswer()).toEqual({
    ...{ systemPrompt: '', tools: true },
    options: { answerFormat: { schema: '{"type": "null"}' } },
  });
  expect(['', ' {} ', '[1]', 'x', '3'].map(parseSchema)).toEqual([
    ...['', '{}', undefined, undefined, undefined],
  ]);
});

test('what was kept and cannot be used is not set', () => {
  const values = stubStorage('localStorage');
  values.set(
    'localphi.settings',
    '{"temperature":9,"seed":1.5,"topK":4,"stop":[1,"a"],"systemPrompt":1,"schema":"x","tools":1}',
  );
  expect(new Settings().value.value).toEqual({ ...DEFAULTS, topK: 4, stop: ['a'] });
  values.set('localphi.settings', 'broken');
  expect(new Settings().value.value).toEqual(DEFAULTS);
});

test('without storage settings last for the visit', () => {
  stubStorage('localStorage', true);
  const settings = new Settings();
  settings.set({ ...DEFAULTS, seed: 3 });
  expect(settings.forAnswer().options).toEqual({ seed: 3 });
});

test('numbers are taken in their range only', () => {
  expect(parseNumber('temperature', ' 0,7 ')).toBe(0.7);
  expect(parseNumber('temperature', '')).toBeNull();
  for (const text of ['2.1', '-1', 'hot', 'NaN', 'Infinity']) {
    expect(parseNumber('temperature', text), text).toBeUndefined();
  }
  expect(parseNumber('topP', '0')).toBeUndefined();
  expect(parseNumber('seed', '1.5')).toBeUndefined();
});

test('stop strings are one a line, and show as they were typed', () => {
  expect(parseStops('a\n\nb\\n\na')).toEqual(['a', 'b\n']);
  expect(showStops(['a', 'b\n'])).toBe('a\nb\\n');
  expect(parseStops(Array.from({ length: 17 }, (_, i) => String(i)).join('\n'))).toBeUndefined();
});
