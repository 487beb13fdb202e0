import { useRef } from 'preact/hooks';

import { strings } from './strings';

interface Props {
  readonly prompt: string;
  readonly onChange: (prompt: string) => void;
}

/** The system prompt, with some to begin with. */
export function PromptInput({ prompt, onChange }: Props) {
  const area = useRef<HTMLTextAreaElement>(null);
  return (
    <div class="field">
      <label for="system-prompt">{strings.systemPrompt}</label>
      <textarea
        id="system-prompt"
        ref={area}
        rows={3}
        data-testid="system-prompt"
        placeholder={strings.systemPromptHint}
        defaultValue={prompt}
        onInput={(event) => {
          onChange(event.currentTarget.value);
        }}
      />
      <div class="presets" role="group" aria-label={strings.presets}>
        {strings.presetList.map(([name, text]) => (
          <button
            key={name}
            type="button"
            class="small-button"
            data-testid="preset"
            title={text}
            onClick={() => {
              if (area.current) area.current.value = text;
              onChange(text);
            }}
          >
            {name}
          </button>
        ))}
      </div>
    </div>
  );
}
