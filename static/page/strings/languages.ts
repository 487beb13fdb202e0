/** The languages of the page, each by its own name. */
export const LANGUAGES = {
  en: 'English',
  de: 'Deutsch',
  fr: 'Français',
  'zh-Hant': '繁體中文',
  'zh-Hans': '简体中文',
} as const;

export type Language = keyof typeof LANGUAGES;

/** Where Chinese is written in traditional characters unless the tag says otherwise. */
const TRADITIONAL = ['TW', 'HK', 'MO'];

export function isLanguage(tag: string | null): tag is Language {
  return tag !== null && Object.hasOwn(LANGUAGES, tag);
}

/** The first of these tags that we speak, else English. */
export function bestLanguage(tags: readonly string[]): Language {
  return tags.map(languageOf).find((language) => language !== null) ?? 'en';
}

function languageOf(tag: string): Language | null {
  try {
    const { language, script, region = '' } = new Intl.Locale(tag);
    if (language !== 'zh') return isLanguage(language) ? language : null;
    if (script !== undefined) return script === 'Hant' ? 'zh-Hant' : 'zh-Hans';
    return TRADITIONAL.includes(region) ? 'zh-Hant' : 'zh-Hans';
  } catch {
    return null; // no language tag at all
  }
}
