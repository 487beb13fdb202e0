import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';

import { messageOf } from '../shared/errors';
import type { KeptModel, StorageReport } from '../shared/protocol';
import type { BrowserBackend, Engine } from './engine';
import { strings } from './strings';
import type { Ui } from './ui';

interface Props {
  readonly engine: Engine;
  readonly ui: Ui;
}

/** What this browser keeps of models, to be checked and deleted. */
export function KeptModels({ engine, ui }: Props) {
  const report = useSignal<StorageReport | null>(null);
  const act = (work: (backend: BrowserBackend) => Promise<string | null>) => {
    void inStorage(engine, ui, async (backend) => {
      const said = await work(backend);
      report.value = await backend.kept();
      if (said !== null) ui.say(said);
    });
  };
  useEffect(() => {
    act(() => Promise.resolve(null));
  }, []);
  if (!report.value) return null;
  const { models, usageBytes, quotaBytes } = report.value;
  return (
    <section class="kept" aria-label={strings.kept} data-testid="kept">
      <h3>{strings.kept}</h3>
      {models.length === 0 && <p class="row-hint">{strings.keptNothing}</p>}
      <ul>
        {models.map((model) => (
          <Kept
            key={model.id}
            model={model}
            onCheck={() => {
              act(async (backend) => {
                const { repaired } = await backend.check(model.id, { force: true });
                return strings.modelChecked(model.name, repaired.length);
              });
            }}
            onDelete={() => {
              act(async (backend) => {
                await backend.remove(model.id);
                return strings.modelDeleted(model.name);
              });
            }}
          />
        ))}
      </ul>
      {usageBytes !== null && quotaBytes !== null && (
        <p class="row-hint" data-testid="usage">
          {strings.keptInAll(usageBytes, quotaBytes)}
        </p>
      )}
    </section>
  );
}

interface KeptProps {
  readonly model: KeptModel;
  readonly onCheck: () => void;
  readonly onDelete: () => void;
}

function Kept({ model, onCheck, onDelete }: KeptProps) {
  const sure = useSignal(false);
  return (
    <li data-testid="kept-model">
      <span>{strings.keptModel(model.name, model.keptBytes)}</span>
      <button
        type="button"
        class="link"
        data-testid="check-model"
        aria-label={strings.checkModelLabel(model.name)}
        onClick={onCheck}
      >
        {strings.checkModel}
      </button>
      <button
        type="button"
        class="link"
        data-testid="delete-model"
        aria-label={
          sure.value
            ? `${strings.reallyDelete} ${strings.deleteModelLabel(model.name)}`
            : strings.deleteModelLabel(model.name)
        }
        onClick={() => {
          if (sure.value) onDelete();
          sure.value = !sure.value;
        }}
      >
        {sure.value ? strings.reallyDelete : strings.deleteModel}
      </button>
    </li>
  );
}

/** Runs the work with the model's own worker where there is one, else with one for the occasion. */
async function inStorage(
  engine: Engine,
  ui: Ui,
  work: (backend: BrowserBackend) => Promise<void>,
): Promise<void> {
  try {
    const { backend, own } = engine.storage();
    try {
      await work(backend);
    } finally {
      if (own) backend.close();
    }
  } catch (error) {
    ui.warn(messageOf(error));
  }
}
