import { describe, expect, test } from 'vitest';

import { parseDecoderConfig, parseManifest, withGraphOf } from '../../shared/manifest';

const HASH = 'a'.repeat(64);

const MANIFEST = {
  schema: 1,
  id: 'tiny',
  name: 'Tiny',
  context_length: 64,
  sampling: { temperature: 0, top_p: 1, top_k: 0 },
  system_prompt: null,
  prompt_format: {
    prefix: '',
    roles: { user: ['<u>', '<e>'] },
    generation: '',
    end: [],
    control: [],
  },
  chunk_bytes: 10,
  files: { 'model.onnx': { size: 11, sha256: HASH, chunks: [HASH, HASH] } },
  variants: { wasm: { files: ['model.onnx'], canary: { prompt: [1], expected: [2] } } },
};

test('a manifest gives its variants with their files', () => {
  const wasm = parseManifest(MANIFEST).variants.get('wasm');
  expect(wasm?.files).toEqual([
    { name: 'model.onnx', sizeBytes: 11, sha256: HASH, chunkBytes: 10, chunks: [HASH, HASH] },
  ]);
  expect(wasm?.canary).toEqual({ prompt: [1], expected: [2] });
});

test('the graph for adapters is told apart from what every session needs', () => {
  const [graph, lora] = ['model.onnx', 'lora.onnx'];
  const entry = MANIFEST.files['model.onnx'];
  const wasm = { files: [graph, lora], lora: { graph: lora, sites: {} } };
  const parse = (variant: object) =>
    parseManifest({
      ...MANIFEST,
      files: { [graph]: entry, [lora]: entry },
      variants: { wasm: variant },
    }).variants.get('wasm');
  expect(parse(wasm)?.files.map(({ name }) => name)).toEqual([graph]);
  expect(parse(wasm)?.lora?.name).toBe(lora);
  expect(parse({ files: [graph] })?.lora).toBeNull();
  expect(() => parse({ ...wasm, files: [graph] })).toThrow('lora.onnx, which is not listed');
});

test('an empty file has one chunk, as on the server', () => {
  const files = { 'model.onnx': { size: 0, sha256: HASH, chunks: [HASH] } };
  expect(parseManifest({ ...MANIFEST, files }).variants.get('wasm')?.files[0]?.sizeBytes).toBe(0);
});

test('a variant may come without a canary', () => {
  const manifest = { ...MANIFEST, variants: { wasm: { files: [] } } };
  expect(parseManifest(manifest).variants.get('wasm')?.canary).toBeNull();
});

test('a device may have a context of its own', () => {
  const contexts = [{}, { context_length: 32 }].map((change) => {
    const wasm = { ...MANIFEST.variants.wasm, ...change };
    return parseManifest({ ...MANIFEST, variants: { wasm } }).variants.get('wasm')?.contextLength;
  });
  expect(contexts).toEqual([null, 32]);
});

describe('the graph of a variant', () => {
  const config = { graphFile: 'model.onnx' } as Parameters<typeof withGraphOf>[0];
  const variant = (...names: string[]) => ({
    files: names.map((name) => ({
      name,
      sizeBytes: 1,
      sha256: HASH,
      chunkBytes: 10,
      chunks: [HASH],
    })),
    canary: null,
    lora: null,
    memory: null,
    contextLength: null,
  });

  test('is the one that genai_config.json names, where the variant lists it', () => {
    expect(withGraphOf(config, variant('model.onnx', 'model.onnx.data'))).toBe(config);
  });

  test("is the variant's own where genai_config.json names the server's", () => {
    const files = variant('model-web-f32.onnx', 'model-web-f32.onnx.data', 'tokenizer.json');
    expect(withGraphOf(config, files).graphFile).toBe('model-web-f32.onnx');
  });

  test.each([
    [[], 'none'],
    [['a.onnx', 'b.onnx'], 'a.onnx, b.onnx'],
  ] as const)('is refused when there is not one: %j', (names, said) => {
    expect(() => withGraphOf(config, variant(...names))).toThrow(said);
  });
});

test('the tokens around tools and calls are there or null', () => {
  const without = parseManifest(MANIFEST).promptFormat;
  expect([without.tools, without.toolCall]).toEqual([null, null]);
  const pairs = { tools: ['<t>', '</t>'], tool_call: null };
  const manifest = { ...MANIFEST, prompt_format: { ...MANIFEST.prompt_format, ...pairs } };
  const { tools, toolCall } = parseManifest(manifest).promptFormat;
  expect([tools, toolCall]).toEqual([['<t>', '</t>'], null]);
});

describe('a manifest that is wrong is refused with the place', () => {
  test.each<[string, object, string]>([
    ['another schema', { schema: 2 }, 'localphi.json has schema 2, wanted 1'],
    ['no name', { name: undefined }, 'name should be a string, but is missing'],
    ['a length that is no count', { context_length: -1 }, 'context_length'],
    ['one chunk too few', { chunk_bytes: 5 }, '11 bytes make 3 chunks'],
    ['no chunk size', { chunk_bytes: 0 }, 'chunk_bytes should be from 1 to'],
    ['chunks beyond memory', { chunk_bytes: 2 ** 40 }, 'chunk_bytes should be from 1 to'],
    ['a variant with a stray file', { files: {} }, 'lists model.onnx, but files does not'],
    [
      'half a role',
      { prompt_format: { ...MANIFEST.prompt_format, roles: { user: ['<u>'] } } },
      'roles.user[1]',
    ],
  ])('%s', (_, change, message) => {
    expect(() => parseManifest({ ...MANIFEST, ...change })).toThrow(message);
  });

  test('no hash', () => {
    const files = { 'model.onnx': { size: 1, sha256: 'abc', chunks: [HASH] } };
    expect(() => parseManifest({ ...MANIFEST, files })).toThrow('SHA-256');
  });
});

const CONFIG = {
  model: {
    eos_token_id: 7,
    decoder: {
      filename: 'model.onnx',
      head_size: 4,
      num_hidden_layers: 2,
      num_key_value_heads: 1,
      inputs: {
        input_ids: 'input_ids',
        attention_mask: 'attention_mask',
        past_key_names: 'past.%d.key',
        past_value_names: 'past.%d.value',
      },
      outputs: {
        logits: 'logits',
        present_key_names: 'present.%d.key',
        present_value_names: 'present.%d.value',
      },
    },
  },
};

test('one end token is as good as a list', () => {
  expect(parseDecoderConfig(CONFIG).endIds).toEqual([7]);
});

test('a configuration without a decoder is refused with the place', () => {
  expect(() => parseDecoderConfig({ model: {} })).toThrow('model.decoder should be an object');
});
