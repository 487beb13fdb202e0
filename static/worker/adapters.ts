/** The LoRA adapters of a model: the server has them, and says what it has now. */
import { LocalphiError, messageOf } from '../shared/errors';
import { asArray, asObject, asString } from '../shared/json';
import type { Manifest } from '../shared/manifest';
import { sha256 } from './files/chunks';
import { readAdapter } from './runtime/adapter-file';
import type { AdapterTensors } from './runtime/adapter-file';
import type { WornAdapter } from './runtime/decoder';

const SERVER_VARIANTS = ['server-cpu', 'server-cuda'];

export class Adapters {
  readonly #manifest: Manifest;
  readonly #fetch: typeof fetch;
  /** Hashes by name, as the server told them last; it may be away the next time. */
  readonly #known = new Map<string, string>();

  constructor(manifest: Manifest, fetchUrl: typeof fetch) {
    this.#manifest = manifest;
    this.#fetch = fetchUrl;
  }

  /**
   * The adapter of that name. Rejects with `adapter` when there is none or it is for other weights, with
   * `network` or `server` when the server cannot be asked and was not asked before.
   */
  async find(name: string, { signal }: { signal: AbortSignal }): Promise<WornAdapter> {
    const hash = await this.#ask(name, signal).catch((error: unknown) => {
      const known = this.#known.get(name);
      if (known && error instanceof LocalphiError && error.kind === 'network') return known;
      throw error;
    });
    this.#known.set(name, hash);
    return { key: hash, load: () => this.#weights(name, hash, signal) };
  }

  /** The hash of its weights. */
  async #ask(name: string, signal: AbortSignal): Promise<string> {
    const { id } = this.#manifest;
    const response = await this.#get(`/adapters/${encodeURIComponent(id)}`, name, {
      signal,
      cache: 'no-cache',
    });
    const { adapters } = asObject(await response.json().catch(cutOff(name)), 'adapters');
    const listed = asArray(adapters, 'adapters').map((entry) => asObject(entry, 'adapters[]'));
    const found = listed.find((entry) => entry['name'] === name);
    if (!found) {
      const names = listed.map((entry) => asString(entry['name'], 'name')).join(', ') || 'none';
      throw new LocalphiError('adapter', `${id} has no adapter '${name}'; it has ${names}`);
    }
    if (found['base'] !== (await baseOf(this.#manifest))) {
      throw new LocalphiError(
        'adapter',
        `the adapter '${name}' was made for other weights than those of ${id} in this browser`,
      );
    }
    return asString(found['sha256'], 'sha256');
  }

  /** Rejects with `adapter` where they are not those of the hash. */
  async #weights(name: string, hash: string, signal: AbortSignal): Promise<AdapterTensors> {
    const path = [this.#manifest.id, name].map(encodeURIComponent).join('/');
    const response = await this.#get(`/adapters/${path}?v=${hash}`, name, { signal });
    const file = await response.arrayBuffer().catch(cutOff(name));
    if ((await sha256(new Uint8Array(file))) !== hash) {
      const message = `the weights of the adapter '${name}' came damaged: they have another hash`;
      throw new LocalphiError('adapter', message);
    }
    return readAdapter(file);
  }

  async #get(path: string, name: string, init: RequestInit): Promise<Response> {
    const response = await this.#fetch(path, init).catch(cutOff(name));
    if (response.ok) return response;
    throw new LocalphiError(
      'server',
      `the adapter '${name}' could not be fetched: the server answered ${response.status}`,
    );
  }
}

function cutOff(name: string): (error: unknown) => never {
  return (cause) => {
    const message = `the adapter '${name}' could not be fetched: ${messageOf(cause)}`;
    throw new LocalphiError('network', message, { cause });
  };
}

/**
 * Tells the weights of a model apart from others, as the server does (models/adapters.py): SHA-256 of the
 * hashes of its weight files. Adapters say which they are for.
 */
export function baseOf({ variants }: Manifest): Promise<string> {
  const variant = SERVER_VARIANTS.map((name) => variants.get(name)).find(Boolean);
  const files = variant ? [...variant.files, ...(variant.lora ? [variant.lora] : [])] : [];
  const data = files.filter(({ name }) => name.endsWith('.data'));
  const weights = data.length > 0 ? data : files.filter(({ name }) => name.endsWith('.onnx'));
  const lines = weights.map(({ name, sha256: hash }) => `${name} ${hash}`).toSorted();
  return sha256(new TextEncoder().encode(lines.join('\n')));
}
