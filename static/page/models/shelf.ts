/** The models of the server with their fetches, kept up to date while somebody looks. */
import { signal } from '@preact/signals';
import type { ReadonlySignal } from '@preact/signals';

import { messageOf } from '../../shared/errors';
import type { CatalogueModel, Pull, ServerCatalogue, ServerModel } from './catalogue';

export interface Stock {
  readonly models: readonly ServerModel[];
  readonly catalogue: readonly CatalogueModel[];
  /** What loaded models may take of the server's memory; null where it does not say. */
  readonly memoryBytes: number | null;
}

export class Shelf {
  readonly #server: ServerCatalogue;
  readonly #stock = signal<Stock | null>(null);
  readonly #pulls = signal<ReadonlyMap<string, Pull>>(new Map());
  readonly #problem = signal<string | null>(null);
  readonly #watched = new Set<string>();

  constructor(server: ServerCatalogue) {
    this.#server = server;
  }

  /** Null until the server has told. */
  get stock(): ReadonlySignal<Stock | null> {
    return this.#stock;
  }

  /** By the id of what is fetched. */
  get pulls(): ReadonlySignal<ReadonlyMap<string, Pull>> {
    return this.#pulls;
  }

  /** Why the server was not asked or refused, in its words. */
  get problem(): ReadonlySignal<string | null> {
    return this.#problem;
  }

  /** Asks for everything, and follows the fetches that are under way, whoever began them. */
  async refresh(): Promise<void> {
    await this.#try(async () => {
      const [models, catalogue, pulls, memoryBytes] = await Promise.all([
        this.#server.models(),
        this.#server.catalogue(),
        this.#server.pulls(),
        this.#server.memoryBytes().catch(() => null),
      ]);
      this.#stock.value = { models, catalogue, memoryBytes };
      for (const pull of pulls) this.#take(pull);
    });
  }

  /** Null where the server does not say. */
  async model(modelId: string | null): Promise<ServerModel | null> {
    if (modelId === null) return null;
    const known = this.#stock.peek()?.models.find(({ id }) => id === modelId);
    return known ?? (await this.#server.model(modelId).catch(() => null));
  }

  /** Ids of the model's adapters, as `model:name`; none where the server cannot be asked. */
  async adapters(modelId: string | null): Promise<readonly string[]> {
    if (modelId === null) return [];
    return this.#server.adapters(modelId).catch(() => []);
  }

  /** Begins a fetch, or goes on with it. */
  async get(sourceId: string): Promise<void> {
    await this.#try(async () => {
      this.#take(await this.#server.start(sourceId));
    });
  }

  async stop(sourceId: string): Promise<void> {
    await this.#try(() => this.#server.stop(sourceId));
  }

  #take(pull: Pull): void {
    this.#pulls.value = new Map(this.#pulls.peek()).set(pull.sourceId, pull);
    if (isUnderWay(pull)) void this.#try(() => this.#watch(pull.sourceId));
  }

  /** One stream a fetch: what it brings does not begin another. */
  async #watch(sourceId: string): Promise<void> {
    if (this.#watched.has(sourceId)) return;
    this.#watched.add(sourceId);
    try {
      // A server with many who watch tells the state once, and wants to be asked again.
      while (await this.#watchOnce(sourceId)) await wait(ASK_AGAIN_MS);
    } finally {
      this.#watched.delete(sourceId);
    }
    if (this.#pulls.peek().get(sourceId)?.status === 'done') await this.refresh();
  }

  /** Whether the fetch is still under way. */
  async #watchOnce(sourceId: string): Promise<boolean> {
    await this.#server.watch(sourceId, (pull) => {
      this.#pulls.value = new Map(this.#pulls.peek()).set(sourceId, pull);
    });
    return isUnderWay(this.#pulls.peek().get(sourceId));
  }

  async #try(work: () => Promise<void>): Promise<void> {
    try {
      this.#problem.value = null;
      await work();
    } catch (error) {
      this.#problem.value = messageOf(error);
    }
  }
}

const ASK_AGAIN_MS = 2000;

export function isUnderWay(pull: Pull | undefined): boolean {
  return pull?.status === 'asking' || pull?.status === 'fetching';
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
