import { useSignal } from '@preact/signals';

import { parseSchema } from './settings';

interface Props {
  readonly schema: string;
  readonly onChange: (schema: string) => void;
}

/** A JSON schema that every answer fits; none where it is empty. */
export function SchemaInput({ schema, onChange }: Props) {
  const wrong = useSignal(false);
  const words = WORDS[document.documentElement.lang] ?? ENGLISH;
  return (
    <label class="field">
      <span>{words.name}</span>
      <textarea
        rows={3}
        spellcheck={false}
        data-testid="json-schema"
        placeholder={'{"type": "object", "properties": {"name": {"type": "string"}}}'}
        aria-invalid={wrong.value}
        defaultValue={schema}
        onInput={(event) => {
          const parsed = parseSchema(event.currentTarget.value);
          wrong.value = parsed === undefined;
          if (parsed !== undefined) onChange(parsed);
        }}
      />
      <span class={wrong.value ? 'hint wrong' : 'hint'}>
        {wrong.value ? words.wrong : words.hint}
      </span>
    </label>
  );
}

interface Words {
  readonly name: string;
  readonly hint: string;
  readonly wrong: string;
}

const ENGLISH: Words = {
  name: 'JSON schema of the answer',
  hint: 'Every answer is then JSON that fits it. Empty for ordinary answers.',
  wrong: 'This is not a JSON object.',
};

const WORDS: Readonly<Record<string, Words>> = {
  en: ENGLISH,
  de: {
    name: 'JSON-Schema der Antwort',
    hint: 'Jede Antwort ist dann JSON, das dazu passt. Leer für gewöhnliche Antworten.',
    wrong: 'Das ist kein JSON-Objekt.',
  },
  fr: {
    name: 'Schéma JSON de la réponse',
    hint: 'Chaque réponse est alors du JSON qui s’y conforme. Vide pour des réponses ordinaires.',
    wrong: 'Ce n’est pas un objet JSON.',
  },
  'zh-Hant': {
    name: '回答的 JSON 結構描述',
    hint: '每個回答都會是符合它的 JSON。留空則為一般回答。',
    wrong: '這不是 JSON 物件。',
  },
  'zh-Hans': {
    name: '回答的 JSON 模式',
    hint: '每个回答都会是符合它的 JSON。留空则为普通回答。',
    wrong: '这不是 JSON 对象。',
  },
};
