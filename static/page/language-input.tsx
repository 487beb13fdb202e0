import { preferences } from './preferences';
import { LANGUAGES, speak, strings } from './strings';
import { isLanguage } from './strings/languages';

/** The language of the page; at once, and for later visits. */
export function LanguageInput() {
  return (
    <label class="field">
      <span>{strings.language}</span>
      <select
        data-testid="language"
        defaultValue={preferences.language ?? ''}
        onChange={({ currentTarget: { value } }) => {
          preferences.language = isLanguage(value) ? value : null;
          void speak();
        }}
      >
        <option value="">{strings.languageAuto}</option>
        {Object.entries(LANGUAGES).map(([tag, name]) => (
          <option key={tag} value={tag} lang={tag} selected={preferences.language === tag}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}
