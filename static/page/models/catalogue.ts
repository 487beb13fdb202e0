/** What the server has and what it can fetch, as it tells it. */
import { LocalphiError } from '../../shared/errors';
import { asArray, asCount, asObject, asString } from '../../shared/json';
import type { JsonObject } from '../../shared/json';
import { parseManifest } from '../../shared/manifest';
import type { Variant } from '../../shared/manifest';
import { fetchModelIds } from '../remote-backend';
import { SseParser } from '../sse';

/** A model that is on the server. */
export interface ServerModel {
  /** What chats ask for; `model:adapter` for a model with an adapter. */
  readonly id: string;
  readonly name: string;
  readonly licence: string;
  readonly contextLength: number;
  /** What its weights take; null where that is not told. */
  readonly sizeBytes: number | null;
  /** What one token of a chat takes beside them. */
  readonly tokenBytes: number | null;
  /** Whether browsers can run it, too. */
  readonly forBrowsers: boolean;
  /** The same in a browser, where one can run it; on the device that takes most where they differ. */
  readonly browserTokenBytes: number | null;
}

/** A model that the server can fetch. */
export interface CatalogueModel {
  /** What a fetch is asked for with. */
  readonly sourceId: string;
  readonly name: string;
  readonly about: string;
  readonly licence: string;
  readonly contextLength: number;
  readonly sizeBytes: number | null;
  readonly here: boolean;
}

const STATUSES = ['asking', 'fetching', 'done', 'failed', 'stopped'] as const;

export type PullStatus = (typeof STATUSES)[number];

export interface Pull {
  readonly sourceId: string;
  readonly status: PullStatus;
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly bytesPerSecond: number;
  readonly secondsLeft: number | null;
  /** Why nothing comes at the moment, or why it failed; empty where all is well. */
  readonly note: string;
}

/** Asks our own server. All reject with a LocalphiError. */
export class ServerCatalogue {
  readonly #fetch: typeof fetch;

  constructor(fetchUrl: typeof fetch) {
    this.#fetch = fetchUrl;
  }

  /** Those whose description cannot be read are left out. */
  async models(): Promise<readonly ServerModel[]> {
    const ids = await fetchModelIds(this.#fetch);
    const found = await Promise.allSettled(ids.map((id) => this.model(id)));
    return found.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  }

  /** Ids of a model's adapters. */
  async adapters(modelId: string): Promise<readonly string[]> {
    const ids = await fetchModelIds(this.#fetch);
    return ids.filter((id) => id.startsWith(`${modelId}:`));
  }

  /** The models that fit what this server computes with. */
  async catalogue(): Promise<readonly CatalogueModel[]> {
    const { models } = await this.#json('GET', '/catalogue');
    return asArray(models, 'models').flatMap((model) => catalogueModels(asObject(model, 'model')));
  }

  async pulls(): Promise<readonly Pull[]> {
    const { pulls } = await this.#json('GET', '/pulls');
    return asArray(pulls, 'pulls').map((pull) => asPull(asObject(pull, 'pull')));
  }

  /** What all loaded models may take of the server's memory. */
  async memoryBytes(): Promise<number> {
    return asCount((await this.#json('GET', '/engines'))['memory_budget_bytes'], 'memory');
  }

  /** Begins to fetch a model, or goes on with one that was stopped. */
  async start(sourceId: string): Promise<Pull> {
    return asPull(await this.#json('POST', pullUrl(sourceId)));
  }

  async stop(sourceId: string): Promise<void> {
    await this.#ask('DELETE', pullUrl(sourceId));
  }

  /** Resolves when the fetch has ended, however it did. */
  async watch(sourceId: string, onPull: (pull: Pull) => void): Promise<void> {
    const { body } = await this.#ask('GET', pullUrl(sourceId));
    const [parser, decoder, reader] = [new SseParser(), new TextDecoder(), body?.getReader()];
    for (;;) {
      const part = await reader?.read();
      if (part?.value === undefined) return;
      for (const data of parser.push(decoder.decode(part.value, { stream: true }))) {
        onPull(asPull(asObject(JSON.parse(data), 'pull')));
      }
    }
  }

  async model(id: string): Promise<ServerModel> {
    const [model = id] = id.split(':');
    const json = await this.#json('GET', `/models/${encodeURIComponent(model)}/localphi.json`);
    const { name, contextLength, variants } = parseManifest(json);
    const own = [...variants].filter(([key]) => !key.startsWith('server'));
    const { weights_bytes: weights, kv_bytes_per_token: token } = memoryOf(json);
    return {
      ...{ id, name: id === model ? name : `${name} · ${id.slice(model.length + 1)}` },
      ...{ contextLength, licence: textOf(json['license']) },
      sizeBytes: typeof weights === 'number' ? weights : null,
      tokenBytes: typeof token === 'number' ? token : null,
      ...{ forBrowsers: id === model && own.length > 0, browserTokenBytes: mostOf(own) },
    };
  }

  async #json(method: string, url: string): Promise<JsonObject> {
    return asObject(await (await this.#ask(method, url)).json(), url);
  }

  async #ask(method: string, url: string): Promise<Response> {
    const response = await this.#fetch(url, { method }).catch((cause: unknown) => {
      throw new LocalphiError('network', 'the server could not be reached', { cause });
    });
    if (!response.ok) throw await refusal(response);
    return response;
  }
}

function pullUrl(sourceId: string): string {
  return `/pulls/${encodeURIComponent(sourceId)}`;
}

function catalogueModels(model: JsonObject): readonly CatalogueModel[] {
  const sources = asArray(model['sources'], 'sources').map((each) => asObject(each, 'source'));
  return sources
    .filter((source) => source['for_this_server'] === true)
    .map((source) => ({
      ...{ sourceId: asString(source['id'], 'id'), name: asString(model['name'], 'name') },
      ...{ about: textOf(model['about']), licence: textOf(model['license']) },
      contextLength: asCount(model['context_length'], 'context_length'),
      sizeBytes: typeof source['about_bytes'] === 'number' ? source['about_bytes'] : null,
      here: source['here'] === true,
    }));
}

function asPull(pull: JsonObject): Pull {
  const status = STATUSES.find((known) => known === pull['status']);
  if (!status) throw new LocalphiError('server', 'the server told nonsense about a fetch');
  const left = pull['left_s'];
  return {
    ...{ sourceId: asString(pull['id'], 'id'), status },
    ...{ doneBytes: Number(pull['done_bytes']), totalBytes: Number(pull['total_bytes']) },
    bytesPerSecond: Number(pull['bytes_per_s']),
    secondsLeft: typeof left === 'number' ? left : null,
    note: textOf(pull['error']) || textOf(pull['note']),
  };
}

/** Of the server's variant; empty where it has none or does not tell. */
function memoryOf(manifest: JsonObject): JsonObject {
  const variants = Object.entries(asObject(manifest['variants'], 'variants'));
  const variant = variants.find(([device]) => device.startsWith('server'))?.[1] ?? {};
  return asObject(asObject(variant, 'variant')['memory'] ?? {}, 'memory');
}

function mostOf(variants: readonly (readonly [string, Variant])[]): number | null {
  const known = variants.flatMap(([, { memory }]) => memory?.kvBytesPerToken ?? []);
  return known.length > 0 ? Math.max(...known) : null;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** The server's own words where it has some. */
async function refusal(response: Response): Promise<LocalphiError> {
  const text = await response.text();
  try {
    const error = asObject(asObject(JSON.parse(text), 'answer')['error'], 'error');
    return new LocalphiError('server', asString(error['message'], 'message'));
  } catch {
    return new LocalphiError('server', `the server answered ${response.status}`);
  }
}
