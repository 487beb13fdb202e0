/** localphi.json and genai_config.json, parsed into values that cannot be wrong. */
import { LocalphiError } from './errors';
import { asArray, asCount, asCounts, asNumber, asObject, asString, asStrings } from './json';
import type { Pair, PromptFormat } from './prompt';

const SCHEMA = 1;
const HEX_SHA256 = /^[0-9a-f]{64}$/;

export interface FileEntry {
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** The file comes in chunks of this size; the last one may be shorter. */
  readonly chunkBytes: number;
  /** SHA-256 of each chunk. */
  readonly chunks: readonly string[];
}

/** A prompt and the ids that a correct device answers with, greedily. */
export interface Canary {
  readonly prompt: readonly number[];
  readonly expected: readonly number[];
}

export interface VariantMemory {
  readonly weightsBytes: number;
  readonly kvBytesPerToken: number;
}

export interface Variant {
  /** Without the graph for adapters. */
  readonly files: readonly FileEntry[];
  /** The graph that adapters are put into, over the same weights; null where there is none. */
  readonly lora: FileEntry | null;
  readonly canary: Canary | null;
  /** Null where the manifest does not say. */
  readonly memory: VariantMemory | null;
  /** Most tokens on this device; null where that is the model's own number. */
  readonly contextLength: number | null;
}

export interface Sampling {
  /** 0 is greedy. */
  readonly temperature: number;
  readonly topP: number;
  /** 0 is off. */
  readonly topK: number;
}

export interface Manifest {
  readonly id: string;
  readonly name: string;
  readonly contextLength: number;
  readonly sampling: Sampling;
  readonly systemPrompt: string | null;
  readonly promptFormat: PromptFormat;
  readonly variants: ReadonlyMap<string, Variant>;
}

/** What the decode loop needs of genai_config.json. */
export interface DecoderConfig {
  readonly graphFile: string;
  readonly layers: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly endIds: readonly number[];
  readonly names: DecoderNames;
}

/** Tensor names; the four patterns have `%d` where the layer goes. */
export interface DecoderNames {
  readonly inputIds: string;
  readonly attentionMask: string;
  /** Only graphs that turn keys outside of attention have it. */
  readonly positionIds: string;
  readonly logits: string;
  readonly pastKey: string;
  readonly pastValue: string;
  readonly presentKey: string;
  readonly presentValue: string;
}

/** Throws a `manifest` error that names the field. */
export function parseManifest(json: unknown): Manifest {
  const root = asObject(json, 'localphi.json');
  if (root['schema'] !== SCHEMA) {
    const came = JSON.stringify(root['schema']);
    throw new LocalphiError('manifest', `localphi.json has schema ${came}, wanted ${SCHEMA}`);
  }
  const chunkBytes = asChunkBytes(root['chunk_bytes']);
  const files = parseFiles(root['files'], chunkBytes);
  return {
    id: asString(root['id'], 'id'),
    name: asString(root['name'], 'name'),
    contextLength: asCount(root['context_length'], 'context_length'),
    sampling: parseSampling(root['sampling']),
    systemPrompt:
      root['system_prompt'] === null ? null : asString(root['system_prompt'], 'system_prompt'),
    promptFormat: parsePromptFormat(root['prompt_format']),
    variants: parseVariants(root['variants'], files),
  };
}

/** Throws a `manifest` error that names the field. */
export function parseDecoderConfig(json: unknown): DecoderConfig {
  const model = asObject(asObject(json, 'genai_config.json')['model'], 'model');
  const decoder = asObject(model['decoder'], 'model.decoder');
  const end = model['eos_token_id'];
  return {
    graphFile: asString(decoder['filename'], 'model.decoder.filename'),
    layers: asCount(decoder['num_hidden_layers'], 'model.decoder.num_hidden_layers'),
    kvHeads: asCount(decoder['num_key_value_heads'], 'model.decoder.num_key_value_heads'),
    headSize: asCount(decoder['head_size'], 'model.decoder.head_size'),
    endIds: asCounts(Array.isArray(end) ? end : [end], 'model.eos_token_id'),
    names: parseNames(decoder),
  };
}

/**
 * The same, with the graph of the variant: genai_config.json names the server's, and a variant for another
 * device may have one of its own. Throws a `manifest` error when the variant has several others.
 */
export function withGraphOf(config: DecoderConfig, { files }: Variant): DecoderConfig {
  const graphs = files.map(({ name }) => name).filter((name) => name.endsWith('.onnx'));
  if (graphs.includes(config.graphFile)) return config;
  const [graphFile, ...others] = graphs;
  if (graphFile === undefined || others.length > 0) {
    const listed = graphs.join(', ') || 'none';
    throw new LocalphiError('manifest', `a variant needs one graph (*.onnx), and lists ${listed}`);
  }
  return { ...config, graphFile };
}

function parseNames(decoder: Readonly<Record<string, unknown>>): DecoderNames {
  const inputs = asObject(decoder['inputs'], 'model.decoder.inputs');
  const outputs = asObject(decoder['outputs'], 'model.decoder.outputs');
  const input = (key: string) => asString(inputs[key], `model.decoder.inputs.${key}`);
  const output = (key: string) => asString(outputs[key], `model.decoder.outputs.${key}`);
  return {
    inputIds: input('input_ids'),
    attentionMask: input('attention_mask'),
    positionIds: 'position_ids' in inputs ? input('position_ids') : 'position_ids',
    logits: output('logits'),
    pastKey: input('past_key_names'),
    pastValue: input('past_value_names'),
    presentKey: output('present_key_names'),
    presentValue: output('present_value_names'),
  };
}

function parseFiles(json: unknown, chunkBytes: number): ReadonlyMap<string, FileEntry> {
  const entries = Object.entries(asObject(json, 'files'));
  return new Map(entries.map(([name, entry]) => [name, parseFile(name, entry, chunkBytes)]));
}

function parseFile(name: string, json: unknown, chunkBytes: number): FileEntry {
  const where = `files[${JSON.stringify(name)}]`;
  const entry = asObject(json, where);
  const sizeBytes = asCount(entry['size'], `${where}.size`);
  const chunks = asStrings(entry['chunks'], `${where}.chunks`);
  const wanted = Math.max(1, Math.ceil(sizeBytes / chunkBytes));
  if (chunks.length !== wanted) {
    throw new LocalphiError(
      'manifest',
      `${where}.chunks has ${chunks.length} hashes, but ${sizeBytes} bytes make ${wanted} chunks`,
    );
  }
  const sha256 = asHash(entry['sha256'], `${where}.sha256`);
  return { name, sizeBytes, sha256, chunkBytes, chunks };
}

/** Chunks are compared in memory; a manifest must not ask for more of it than a browser has. */
const MOST_CHUNK_BYTES = 256 * 1024 * 1024;

function asChunkBytes(value: unknown): number {
  const bytes = asCount(value, 'chunk_bytes');
  if (bytes > 0 && bytes <= MOST_CHUNK_BYTES) return bytes;
  throw new LocalphiError(
    'manifest',
    `chunk_bytes should be from 1 to ${MOST_CHUNK_BYTES}, but is ${bytes}`,
  );
}

function asHash(value: unknown, where: string): string {
  const text = asString(value, where);
  if (!HEX_SHA256.test(text)) {
    throw new LocalphiError('manifest', `${where} should be a SHA-256 in hex, but is ${text}`);
  }
  return text;
}

function parseSampling(json: unknown): Sampling {
  const sampling = asObject(json, 'sampling');
  return {
    temperature: asNumber(sampling['temperature'], 'sampling.temperature'),
    topP: asNumber(sampling['top_p'], 'sampling.top_p'),
    topK: asCount(sampling['top_k'], 'sampling.top_k'),
  };
}

function parsePromptFormat(json: unknown): PromptFormat {
  const format = asObject(json, 'prompt_format');
  const roles = Object.entries(asObject(format['roles'], 'prompt_format.roles'));
  return {
    prefix: asString(format['prefix'], 'prompt_format.prefix'),
    roles: new Map(
      roles.map(([role, pair]) => [role, parsePair(pair, `prompt_format.roles.${role}`)]),
    ),
    generation: asString(format['generation'], 'prompt_format.generation'),
    end: asStrings(format['end'], 'prompt_format.end'),
    control: asStrings(format['control'], 'prompt_format.control'),
    tools: parseOptionalPair(format['tools'], 'prompt_format.tools'),
    toolCall: parseOptionalPair(format['tool_call'], 'prompt_format.tool_call'),
    systemInUser: format['system_in_user'] === true,
  };
}

function parseOptionalPair(json: unknown, where: string): Pair | null {
  return json === null || json === undefined ? null : parsePair(json, where);
}

function parsePair(json: unknown, where: string): Pair {
  const pair = asArray(json, where);
  return [asString(pair[0], `${where}[0]`), asString(pair[1], `${where}[1]`)];
}

function parseVariants(
  json: unknown,
  files: ReadonlyMap<string, FileEntry>,
): ReadonlyMap<string, Variant> {
  const entries = Object.entries(asObject(json, 'variants'));
  return new Map(entries.map(([name, entry]) => [name, parseVariant(name, entry, files)]));
}

function parseVariant(name: string, json: unknown, files: ReadonlyMap<string, FileEntry>): Variant {
  const where = `variants[${JSON.stringify(name)}]`;
  const variant = asObject(json, where);
  const listed = asStrings(variant['files'], `${where}.files`).map((file) => {
    const entry = files.get(file);
    if (!entry) throw new LocalphiError('manifest', `${where} lists ${file}, but files does not`);
    return entry;
  });
  const lora = parseLora(variant['lora'], `${where}.lora`, listed);
  const context = variant['context_length'];
  return {
    files: listed.filter((file) => file !== lora),
    lora,
    canary: parseCanary(variant['canary'], `${where}.canary`),
    memory: parseMemory(variant['memory'], `${where}.memory`),
    contextLength: context === undefined ? null : asCount(context, `${where}.context_length`),
  };
}

function parseLora(json: unknown, where: string, files: readonly FileEntry[]): FileEntry | null {
  if (json === null || json === undefined) return null;
  const graph = asString(asObject(json, where)['graph'], `${where}.graph`);
  const entry = files.find(({ name }) => name === graph);
  if (!entry)
    throw new LocalphiError('manifest', `${where}.graph is ${graph}, which is not listed`);
  return entry;
}

function parseMemory(json: unknown, where: string): VariantMemory | null {
  if (json === null || json === undefined) return null;
  const memory = asObject(json, where);
  return {
    weightsBytes: asCount(memory['weights_bytes'], `${where}.weights_bytes`),
    kvBytesPerToken: asCount(memory['kv_bytes_per_token'], `${where}.kv_bytes_per_token`),
  };
}

function parseCanary(json: unknown, where: string): Canary | null {
  if (json === null || json === undefined) return null;
  const canary = asObject(json, where);
  return {
    prompt: asCounts(canary['prompt'], `${where}.prompt`),
    expected: asCounts(canary['expected'], `${where}.expected`),
  };
}
