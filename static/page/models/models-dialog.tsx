import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';

import type { RungReport } from '../../shared/protocol';
import { Dialog } from '../dialog';
import type { Engine } from '../engine';
import { KeptModels } from '../kept-models';
import { strings } from '../strings';
import { Toast } from '../toast';
import type { Ui } from '../ui';
import { readFacts } from './facts';
import type { Facts } from './facts';
import { ModelCards } from './model-cards';
import type { Shelf } from './shelf';

interface Props {
  readonly engine: Engine;
  readonly shelf: Shelf;
  readonly ui: Ui;
  readonly onClose: () => void;
}

/** Where the model runs and why, what else there is, and what this browser keeps of it. */
export function ModelsDialog({ engine, shelf, ui, onClose }: Props) {
  return (
    <Dialog wide title={strings.models} onClose={onClose} testId="models">
      <Where engine={engine} />
      <ModelCards engine={engine} shelf={shelf} />
      <KeptModels engine={engine} ui={ui} />
      <Abilities />
      {/* Here, because what lies under a dialog cannot be reached. */}
      <Toast ui={ui} />
    </Dialog>
  );
}

function Where({ engine }: Pick<Props, 'engine'>) {
  const state = engine.state.value;
  const running = state.phase === 'ready';
  return (
    <section class="models-part" data-testid="where">
      <p class="lead-small">
        {running ? strings.runsOn(state.modelName, state.device) : strings.nothingRuns}
      </p>
      <h3>{strings.whyHere}</h3>
      <ul class="ladder">
        {engine.rungs.value.map((rung) => (
          <li key={rung.device} data-testid={`rung-${rung.device}`} data-state={rung.state}>
            <strong>{strings.deviceName(rung.device)}</strong>
            <span>{whyOf(rung, engine.choice.value === rung.device)}</span>
          </li>
        ))}
      </ul>
      {running && (
        <a
          class="quiet"
          href={`/bench?model=${encodeURIComponent(engine.modelId.value ?? '')}`}
          target="_blank"
          rel="noopener"
        >
          {strings.measure}
        </a>
      )}
    </section>
  );
}

function whyOf({ state, reason }: RungReport, chosen: boolean): string {
  if (state === 'active') return chosen ? strings.asChosen : strings.bestOfAll;
  return reason ? strings.reason(reason) : strings.notNeeded;
}

function Abilities() {
  const facts = useSignal<Facts | null>(null);
  useEffect(() => {
    void readFacts().then((found) => {
      facts.value = found;
    });
  }, [facts]);
  return (
    <section class="models-part" data-testid="facts">
      <h3>{strings.browserCan}</h3>
      <ul class="plain">
        {facts.value && strings.facts(facts.value).map((fact) => <li key={fact}>{fact}</li>)}
      </ul>
    </section>
  );
}
