/** What answers where a LoRA adapter is chosen: the server, because this browser computes with models as they are. */
import { computed } from '@preact/signals';
import type { ReadonlySignal } from '@preact/signals';

import type { LocalphiError } from '../shared/errors';
import type { Device } from '../shared/protocol';
import type { Backend } from './backend';
import type { Engine } from './engine';
import type { Settings } from './settings';
import type { BackendSource } from './steady-answer';

export class AdapterSource implements BackendSource {
  readonly #engine: BackendSource & Pick<Engine, 'modelId'>;
  readonly #server: (modelId: string) => Backend;
  readonly #settings: Settings;
  /** Those that were given out here. */
  readonly #given = new WeakSet<Backend>();

  /** Name of the adapter that answers; null where the model answers as it is. */
  readonly adapter: ReadonlySignal<string | null> = computed(() =>
    adapterName(this.#settings.value.value.adapter, this.#engine.modelId.value),
  );

  /** server: answers with a model, or a model's adapter, of the server. */
  constructor(
    engine: BackendSource & Pick<Engine, 'modelId'>,
    server: (modelId: string) => Backend,
    settings: Settings,
  ) {
    this.#engine = engine;
    this.#server = server;
    this.#settings = settings;
  }

  async ready(): Promise<Backend> {
    if (this.#engine.modelId.peek() === null) await this.#engine.ready(); // which model it is
    if (this.adapter.peek() === null) return this.#engine.ready();
    const backend = this.#server(this.#settings.value.peek().adapter);
    this.#given.add(backend);
    return backend;
  }

  /** Nothing else here has the adapter. */
  async replace(lost: Backend, error: LocalphiError): Promise<Device | null> {
    return this.#given.has(lost) ? null : this.#engine.replace(lost, error);
  }
}

/** adapter: as in the server's list of models, `model:name`. Null for none, and for one of another model. */
export function adapterName(adapter: string, modelId: string | null): string | null {
  const start = `${modelId ?? ''}:`;
  return adapter.startsWith(start) && adapter !== start ? adapter.slice(start.length) : null;
}
