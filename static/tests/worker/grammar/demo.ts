/** The language of the demo model, without its weights. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { parseManifest } from '../../../shared/manifest';
import type { PromptFormat } from '../../../shared/prompt';
import { Guides } from '../../../worker/runtime/guides';
import { Tokenizer } from '../../../worker/runtime/tokenizer';

const folder = new URL(
  '../../../../webapp/localphi/models/bundled/localphi-demo/',
  import.meta.url,
);

function read(name: string): unknown {
  return JSON.parse(readFileSync(fileURLToPath(new URL(name, folder)), 'utf8'));
}

export const manifest = parseManifest(read('localphi.json'));
export const tokenizer = new Tokenizer(read('tokenizer.json'), read('tokenizer_config.json'));
export const endIds: ReadonlySet<number> = new Set(
  manifest.promptFormat.end.map((token) => tokenizer.idOf(token)),
);

/** Holds answers as the demo's prompt format says, or one without tokens around its calls. */
export function guidesFor({ marked = true } = {}): Guides {
  const format: PromptFormat = { ...manifest.promptFormat };
  return new Guides(tokenizer, marked ? format : { ...format, toolCall: null }, endIds);
}
