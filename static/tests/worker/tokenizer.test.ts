import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

import { Tokenizer } from '../../worker/runtime/tokenizer';

interface Vector {
  readonly tokenizer: string;
  readonly cases: readonly {
    readonly text: string;
    readonly ids: readonly number[];
    readonly decoded: string;
    readonly control?: boolean;
  }[];
}

const root = fileURLToPath(new URL('../../..', import.meta.url));
const vectors = JSON.parse(
  readFileSync(join(root, 'tests/vectors/tokenizer.json'), 'utf8'),
) as readonly Vector[];

/** Real tokenizers are test data beside a checkout, not in it. */
const real = process.env['LOCALPHI_TOKENIZERS'] ?? join(root, '..', 'shared', 'tokenizers');

function folderOf(name: string): string {
  const bundled = join(root, 'webapp/localphi/models/bundled', name);
  return existsSync(bundled) ? bundled : join(real, name);
}

function load(folder: string): Tokenizer {
  const read = (name: string): unknown => JSON.parse(readFileSync(join(folder, name), 'utf8'));
  return new Tokenizer(read('tokenizer.json'), read('tokenizer_config.json'));
}

describe.each(vectors)('$tokenizer', ({ tokenizer: name, cases }) => {
  const folder = folderOf(name);
  if (!existsSync(folder)) {
    test.skip(`skipped: no tokenizer in ${name}/, see LOCALPHI_TOKENIZERS`, () => {});
    return;
  }
  const tokenizer = load(folder);

  test.each(cases)('encodes and decodes $text as Python does', ({ text, ids, decoded }) => {
    expect(tokenizer.encode(text)).toEqual(ids);
    expect(tokenizer.decode(ids)).toBe(decoded);
  });

  test('an answer leaves special tokens out', () => {
    const end = tokenizer.idOf('<|end|>');
    expect(tokenizer.decode([...tokenizer.encode('Hi'), end])).toBe('Hi');
  });

  test('a token the vocabulary lacks is refused by name', () => {
    expect(() => tokenizer.idOf('<|nothing|>')).toThrow('<|nothing|>');
  });
});
