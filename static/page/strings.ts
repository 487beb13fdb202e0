/** Everything the page says, in the language in use. */
import { signal } from '@preact/signals';
import type { ReadonlySignal } from '@preact/signals';

import { preferences } from './preferences';
import { english } from './strings/en';
import type { Strings } from './strings/en';
import { LANGUAGES, bestLanguage } from './strings/languages';
import type { Language } from './strings/languages';

const table = signal<Strings>(english);
const shown = signal<Language>('en');

/** Reads the signal at every word, so what shows one is drawn again in another language. */
export const strings: Strings = new Proxy(english, {
  get: (_, key) => Reflect.get(table.value, key) as unknown,
});

export const language: ReadonlySignal<Language> = shown;

/** The tables come when they are wanted; English is always there. */
const TABLES: Record<Language, () => Promise<Strings>> = {
  en: () => Promise.resolve(english),
  de: async () => (await import('./strings/de')).german,
  fr: async () => (await import('./strings/fr')).french,
  'zh-Hant': async () => (await import('./strings/zh-hant')).traditionalChinese,
  'zh-Hans': async () => (await import('./strings/zh-hans')).simplifiedChinese,
};

/** As it was chosen, else what the browser likes best of what there is. */
export async function speak(chosen: Language | null = preferences.language): Promise<void> {
  const wanted = chosen ?? bestLanguage(navigator.languages);
  try {
    const wantedTable = await TABLES[wanted]();
    document.documentElement.lang = wanted; // before anything is drawn: the tools look there
    table.value = wantedTable;
    shown.value = wanted;
  } catch {
    // A table that does not come leaves the language as it is.
  }
}

export { LANGUAGES };
export type { Language, Strings };
