/** What the address and earlier visits say about how to start. */
import type { DeviceChoice } from '../shared/protocol';
import { isLanguage } from './strings/languages';
import type { Language } from './strings/languages';

const CHOICES: readonly string[] = [
  'auto',
  'webgpu',
  'webnn',
  'wasm',
  'server',
] satisfies DeviceChoice[];
const DEVICE_KEY = 'localphi.device';
const MODEL_KEY = 'localphi.model';
const SIDE_KEY = 'localphi.side';
const KEYS_KEY = 'localphi.single-keys';
const LANGUAGE_KEY = 'localphi.language';
const CONTEXT_KEY = 'localphi.context';

/** With less, there is hardly room for question and answer. */
export const SHORTEST_CONTEXT = 256;

/** The deep link: ?device=, ?model=, ?q=, ?debug=1. */
export interface Link {
  readonly device: DeviceChoice | null;
  readonly modelId: string | null;
  readonly question: string | null;
  readonly debug: boolean;
}

export function parseLink(search: string): Link {
  const parameters = new URLSearchParams(search);
  return {
    device: asChoice(parameters.get('device')),
    modelId: parameters.get('model'),
    question: blankAsNull(parameters.get('q')),
    debug: parameters.get('debug') === '1',
  };
}

/** The address without a parameter whose time is over: a question asked, a device chosen anew. */
export function without(parameter: 'q' | 'device', href: string): string {
  const url = new URL(href);
  url.searchParams.delete(parameter);
  return url.href;
}

/** Small settings that outlive a visit; forgetful where the browser refuses storage. */
export const preferences = {
  get device(): DeviceChoice {
    return asChoice(read(DEVICE_KEY)) ?? 'auto';
  },
  set device(choice: DeviceChoice) {
    write(DEVICE_KEY, choice);
  },
  /** The model of the last visit, for when the server cannot be asked. */
  get modelId(): string | null {
    return read(MODEL_KEY);
  },
  set modelId(id: string) {
    write(MODEL_KEY, id);
  },
  /** Whether the list of chats stands beside the chat, where there is room. */
  get sideOpen(): boolean {
    return read(SIDE_KEY) !== 'closed';
  },
  set sideOpen(open: boolean) {
    write(SIDE_KEY, open ? 'open' : 'closed');
  },
  /** Null: as the browser says. */
  get language(): Language | null {
    const kept = read(LANGUAGE_KEY);
    return isLanguage(kept) ? kept : null;
  },
  set language(language: Language | null) {
    write(LANGUAGE_KEY, language ?? '');
  },
  /** Most tokens that a model shall read in this browser, by its id; a model that is not there reads all it can. */
  get contextLengths(): Readonly<Record<string, number>> {
    return parseLengths(read(CONTEXT_KEY));
  },
  set contextLengths(lengths: Readonly<Record<string, number>>) {
    write(CONTEXT_KEY, JSON.stringify(lengths));
  },
  /** Whether keys of one character are shortcuts; people who speak to their computer want them off. */
  get singleKeys(): boolean {
    return read(KEYS_KEY) !== 'off';
  },
  set singleKeys(on: boolean) {
    write(KEYS_KEY, on ? 'on' : 'off');
  },
};

/** The address that starts with this model, on this device or as before. */
export function withModel(modelId: string, href: string, device?: DeviceChoice): string {
  const url = new URL(href);
  url.searchParams.set('model', modelId);
  if (device === undefined) url.searchParams.delete('device');
  else url.searchParams.set('device', device);
  return url.href;
}

function blankAsNull(text: string | null): string | null {
  return text === null || text.trim() === '' ? null : text.trim();
}

function asChoice(text: string | null): DeviceChoice | null {
  return text !== null && CHOICES.includes(text) ? (text as DeviceChoice) : null;
}

function parseLengths(text: string | null): Readonly<Record<string, number>> {
  try {
    const kept = JSON.parse(text ?? '{}') as Record<string, unknown>;
    const usable = Object.entries(kept).filter(([, tokens]) => Number(tokens) >= SHORTEST_CONTEXT);
    return Object.fromEntries(usable) as Record<string, number>;
  } catch {
    return {};
  }
}

function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Refused storage: this visit still works, the next one starts from the defaults.
  }
}
