import { expect, test } from 'vitest';

import { german } from '../../page/strings/de';
import { english } from '../../page/strings/en';
import { french } from '../../page/strings/fr';
import { bestLanguage } from '../../page/strings/languages';
import { simplifiedChinese } from '../../page/strings/zh-hans';
import { traditionalChinese } from '../../page/strings/zh-hant';

test('the first language that we speak is taken, else English', () => {
  expect(bestLanguage(['it', 'fr-CA', 'de'])).toBe('fr');
  expect(bestLanguage(['de-AT'])).toBe('de');
  expect(bestLanguage(['it', 'not a tag!'])).toBe('en');
  expect(bestLanguage([])).toBe('en');
});

test('Chinese is written as where it is read', () => {
  const tags = ['zh', 'zh-CN', 'zh-SG', 'zh-TW', 'zh-HK', 'zh-Hant-CN', 'zh-Hans-TW'];
  expect(tags.map((tag) => bestLanguage([tag]))).toEqual([
    ...['zh-Hans', 'zh-Hans', 'zh-Hans', 'zh-Hant', 'zh-Hant', 'zh-Hant', 'zh-Hans'],
  ]);
});

test('numbers are written as in the language', () => {
  const facts = [english, german, french, simplifiedChinese].map((strings) =>
    strings.pullProgress(1.25e9, 2.5e9, 5.5e6, 120),
  );
  expect(facts[0]).toBe('1.3 GB of 2.5 GB · 50% · 5.5 MB/s · 2 min left');
  expect(facts[1]).toMatch(/^1,3\sGB von 2,5\sGB/);
  expect(facts[2]).toContain('Go sur 2,5');
  expect(facts[3]).toContain('5.5 MB');
});

test('nothing is left in English by accident', () => {
  // Names, and words that are spelt the same.
  const same = [
    'product',
    'code',
    'chats',
    'transcript',
    'pause',
    'licences',
    'alternativesLabel',
    'adapter',
  ];
  for (const table of [german, french, traditionalChinese, simplifiedChinese]) {
    const left = Object.entries(table)
      .filter(([key, text]) => typeof text === 'string' && text === Reflect.get(english, key))
      .map(([key]) => key)
      .filter((key) => !same.includes(key));
    expect(left).toEqual([]);
  }
  expect(traditionalChinese.send).not.toBe(simplifiedChinese.send);
});
