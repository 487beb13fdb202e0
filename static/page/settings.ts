/** How answers are made, as one has set it; what is not set is the model's own. */
import { signal } from '@preact/signals';
import type { ReadonlySignal } from '@preact/signals';

import type { ChatOptions } from '../shared/protocol';
import { MAX_STOPS, MAX_STOP_CHARS, RANGES } from '../shared/ranges';
import type { AnswerSettings } from './conversation';

const KEY = 'localphi.settings';

/** Null and empty mean: as the model does. */
export interface ChatSettings {
  readonly systemPrompt: string;
  readonly temperature: number | null;
  readonly topP: number | null;
  readonly topK: number | null;
  readonly minP: number | null;
  readonly repetitionPenalty: number | null;
  readonly presencePenalty: number | null;
  readonly frequencyPenalty: number | null;
  readonly seed: number | null;
  readonly maxTokens: number | null;
  readonly stop: readonly string[];
  /** Whether the model may ask for the tools of the page. */
  readonly tools: boolean;
  /** JSON text of a schema that answers fit. */
  readonly schema: string;
  /** A LoRA adapter as the server lists it, `model:name`; it counts for that model only. */
  readonly adapter: string;
}

export type NumberField = Exclude<
  keyof ChatSettings,
  'systemPrompt' | 'stop' | 'tools' | 'schema' | 'adapter'
>;

const NUMBER_FIELDS = Object.keys(RANGES) as readonly NumberField[];

export { RANGES, MAX_STOPS, MAX_STOP_CHARS };

export const DEFAULTS: ChatSettings = {
  systemPrompt: '',
  ...{ temperature: null, topP: null, topK: null, minP: null, seed: null, maxTokens: null },
  ...{ repetitionPenalty: null, presencePenalty: null, frequencyPenalty: null },
  stop: [],
  tools: false,
  ...{ schema: '', adapter: '' },
};

/** The number that was typed; null for nothing, undefined for what cannot be used. */
export function parseNumber(field: NumberField, text: string): number | null | undefined {
  if (text.trim() === '') return null;
  const { min, max, whole } = RANGES[field];
  const value = Number(text.trim().replace(',', '.'));
  const fits = value >= min && value <= max && (!whole || Number.isInteger(value));
  return fits ? value : undefined;
}

/** One stop string a line; `\n` in it is a line break. Undefined when there are too many. */
export function parseStops(text: string): readonly string[] | undefined {
  const lines = text.split('\n').filter((line) => line !== '');
  const stops = [...new Set(lines)].map((line) => line.replaceAll('\\n', '\n'));
  const fit = stops.length <= MAX_STOPS && stops.every((stop) => stop.length <= MAX_STOP_CHARS);
  return fit ? stops : undefined;
}

/** The schema that was typed; empty for nothing, undefined for what is no JSON object. */
export function parseSchema(text: string): string | undefined {
  if (text.trim() === '') return '';
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? text.trim() : undefined;
  } catch {
    return undefined;
  }
}

export function showStops(stops: readonly string[]): string {
  return stops.map((stop) => stop.replaceAll('\n', '\\n')).join('\n');
}

/** Kept in the browser; forgetful where it refuses storage. */
export class Settings {
  readonly #value = signal(read());

  get value(): ReadonlySignal<ChatSettings> {
    return this.#value;
  }

  set(value: ChatSettings): void {
    this.#value.value = value;
    try {
      localStorage.setItem(KEY, JSON.stringify(value));
    } catch {
      // Refused storage: this visit still goes by them.
    }
  }

  /** As the next question needs them. */
  forAnswer(): AnswerSettings {
    const value = this.#value.peek();
    const { systemPrompt, stop, tools, schema } = value;
    const set = NUMBER_FIELDS.map((field) => [field, value[field]]).filter(
      ([, number]) => number !== null,
    );
    const options = Object.fromEntries(set) as ChatOptions;
    return {
      systemPrompt: systemPrompt.trim(),
      options: {
        ...options,
        ...(stop.length > 0 && { stop }),
        ...(schema !== '' && { answerFormat: { schema } }),
      },
      ...(tools && { tools }),
    };
  }
}

/** What was kept, field by field; what cannot be used any more is not set. */
function read(): ChatSettings {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Record<string, unknown>>;
    const numbers = NUMBER_FIELDS.map((field) => {
      const value = kept[field];
      return [
        field,
        typeof value === 'number' ? (parseNumber(field, String(value)) ?? null) : null,
      ];
    });
    const stop = Array.isArray(kept['stop'])
      ? kept['stop'].filter((text): text is string => typeof text === 'string' && text !== '')
      : [];
    const systemPrompt = typeof kept['systemPrompt'] === 'string' ? kept['systemPrompt'] : '';
    const set = Object.fromEntries(numbers) as Record<NumberField, number | null>;
    const schema = typeof kept['schema'] === 'string' ? (parseSchema(kept['schema']) ?? '') : '';
    const adapter = typeof kept['adapter'] === 'string' ? kept['adapter'] : '';
    return {
      ...DEFAULTS,
      ...set,
      systemPrompt,
      stop,
      tools: kept['tools'] === true,
      schema,
      adapter,
    };
  } catch {
    return DEFAULTS;
  }
}
