import { useSignal } from '@preact/signals';

import { AdapterInput } from './adapter-input';
import { ContextInput, resetContextLength } from './context-input';
import { Dialog } from './dialog';
import type { Engine } from './engine';
import { LanguageInput } from './language-input';
import type { Shelf } from './models/shelf';
import { PromptInput } from './prompt-input';
import { SchemaInput } from './schema-input';
import type { ServerKey } from './server-key';
import { DEFAULTS, RANGES, parseNumber, parseStops, showStops } from './settings';
import type { ChatSettings, NumberField, Settings } from './settings';
import { strings } from './strings';
import { toolWords } from './tools/words';

interface Props {
  readonly engine: Engine;
  readonly settings: Settings;
  readonly shelf: Shelf;
  readonly serverKey: ServerKey;
  readonly onClose: () => void;
}

const FIRST_FIELDS = ['temperature', 'maxTokens', 'topP', 'topK', 'seed'] as const;
const MORE_FIELDS = ['minP', 'repetitionPenalty', 'presencePenalty', 'frequencyPenalty'] as const;

/** What is typed is kept at once where it can be used, and marked where it cannot. */
export function SettingsDialog({ engine, settings, shelf, serverKey, onClose }: Props) {
  const version = useSignal(0);
  const value = settings.value.value;
  const change = (changes: Partial<ChatSettings>) => {
    settings.set({ ...settings.value.peek(), ...changes });
  };
  return (
    <Dialog title={strings.settings} onClose={onClose} testId="settings">
      {/* A new form after a reset, because its fields keep what was typed into them. */}
      <form key={version.value} class="form" method="dialog">
        <LanguageInput />
        <PromptInput
          prompt={value.systemPrompt}
          onChange={(systemPrompt) => {
            change({ systemPrompt });
          }}
        />
        <NumberInputs fields={FIRST_FIELDS} value={value} onChange={change} />
        <details
          data-testid="more-settings"
          open={MORE_FIELDS.some((field) => value[field] !== null)}
        >
          <summary>{strings.moreSettings}</summary>
          <NumberInputs fields={MORE_FIELDS} value={value} onChange={change} />
        </details>
        <AdapterInput
          shelf={shelf}
          modelId={engine.modelId.value}
          adapter={value.adapter}
          onChange={(adapter) => {
            change({ adapter });
          }}
        />
        <ContextInput engine={engine} shelf={shelf} />
        <StopInput
          stops={value.stop}
          onChange={(stop) => {
            change({ stop });
          }}
        />
        <SchemaInput
          schema={value.schema}
          onChange={(schema) => {
            change({ schema });
          }}
        />
        <label class="field">
          <span>
            <input
              type="checkbox"
              data-testid="offer-tools"
              defaultChecked={value.tools}
              onChange={(event) => {
                change({ tools: event.currentTarget.checked });
              }}
            />{' '}
            {toolWords().offer}
          </span>
          <span class="hint">{toolWords().offerHint}</span>
        </label>
        <p class="quiet">{strings.settingsNote}</p>
        {serverKey.value.value !== null && (
          <p class="quiet">
            {strings.keyKept}{' '}
            <button
              type="button"
              class="link"
              data-testid="forget-key"
              onClick={() => {
                serverKey.forget();
              }}
            >
              {strings.keyForget}
            </button>
          </p>
        )}
        <div class="form-foot">
          <button
            type="button"
            class="button"
            data-testid="reset-settings"
            onClick={() => {
              settings.set(DEFAULTS);
              resetContextLength(engine.modelId.peek());
              version.value++;
            }}
          >
            {strings.reset}
          </button>
          <button type="submit" class="button primary">
            {strings.done}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

interface NumbersProps {
  readonly fields: readonly NumberField[];
  readonly value: ChatSettings;
  readonly onChange: (changes: Partial<ChatSettings>) => void;
}

function NumberInputs({ fields, value, onChange }: NumbersProps) {
  return (
    <div class="fields">
      {fields.map((field) => (
        <NumberInput
          key={field}
          field={field}
          value={value[field]}
          onChange={(number) => {
            onChange({ [field]: number });
          }}
        />
      ))}
    </div>
  );
}

interface NumberProps {
  readonly field: NumberField;
  readonly value: number | null;
  readonly onChange: (value: number | null) => void;
}

function NumberInput({ field, value, onChange }: NumberProps) {
  const wrong = useSignal(false);
  const { min, max } = RANGES[field];
  return (
    <label class="field">
      <span>{strings.settingName[field]}</span>
      <input
        type="text"
        inputMode="decimal"
        autocomplete="off"
        data-testid={`setting-${field}`}
        placeholder={strings.modelsOwn}
        aria-invalid={wrong.value}
        defaultValue={value === null ? '' : String(value)}
        onInput={(event) => {
          const number = parseNumber(field, event.currentTarget.value);
          wrong.value = number === undefined;
          if (number !== undefined) onChange(number);
        }}
      />
      <span class={wrong.value ? 'hint wrong' : 'hint'}>
        {wrong.value ? strings.outOfRange(min, max) : strings.settingHint[field]}
      </span>
    </label>
  );
}

interface StopProps {
  readonly stops: readonly string[];
  readonly onChange: (stops: readonly string[]) => void;
}

function StopInput({ stops, onChange }: StopProps) {
  const wrong = useSignal(false);
  return (
    <label class="field">
      <span>{strings.stopStrings}</span>
      <textarea
        rows={2}
        data-testid="stop-strings"
        aria-invalid={wrong.value}
        defaultValue={showStops(stops)}
        onInput={(event) => {
          const parsed = parseStops(event.currentTarget.value);
          wrong.value = parsed === undefined;
          if (parsed) onChange(parsed);
        }}
      />
      <span class={wrong.value ? 'hint wrong' : 'hint'}>
        {wrong.value ? strings.tooManyStops : strings.stopStringsHint}
      </span>
    </label>
  );
}
