import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';

import type { Engine } from '../engine';
import { withModel } from '../preferences';
import { strings } from '../strings';
import type { CatalogueModel, Pull, ServerModel } from './catalogue';
import { fitOf } from './fit';
import type { Fit } from './fit';
import { isUnderWay } from './shelf';
import type { Shelf, Stock } from './shelf';

interface Props {
  readonly engine: Engine;
  readonly shelf: Shelf;
}

/** The models that are on the server, and those that it can fetch. */
export function ModelCards({ engine, shelf }: Props) {
  useEffect(() => {
    void shelf.refresh();
  }, [shelf]);
  const stock = shelf.stock.value;
  const problem = shelf.problem.value;
  return (
    <>
      {problem !== null && (
        <div class="error" role="alert" data-testid="models-problem">
          <p>{stock ? problem : strings.noCatalogue}</p>
          {!stock && <p class="quiet">{problem}</p>}
        </div>
      )}
      {stock && <Here engine={engine} stock={stock} />}
      {stock && <More shelf={shelf} stock={stock} />}
    </>
  );
}

function Here({ engine, stock }: { readonly engine: Engine; readonly stock: Stock }) {
  return (
    <section class="models-part" aria-label={strings.modelsHere}>
      <h3>{strings.modelsHere}</h3>
      <ul class="cards">
        {stock.models.map((model) => (
          <HereCard
            key={model.id}
            model={model}
            fit={fitOf(model.sizeBytes, stock.memoryBytes)}
            inUse={model.id === engine.modelId.value}
          />
        ))}
      </ul>
    </section>
  );
}

interface HereProps {
  readonly model: ServerModel;
  readonly fit: Fit;
  readonly inUse: boolean;
}

function HereCard({ model, fit, inUse }: HereProps) {
  const { id, name, sizeBytes, licence, contextLength, tokenBytes, forBrowsers } = model;
  return (
    <Card
      name={name}
      testId="model-here"
      tag={inUse ? strings.inUse : null}
      facts={`${strings.modelFacts(sizeBytes, licence, contextLength)} · ${strings.runsAt(forBrowsers)}`}
      fit={fit}
    >
      {tokenBytes !== null && (
        <p class="quiet">{strings.contextCost(contextLength, contextLength * tokenBytes)}</p>
      )}
      {!inUse && (
        <a
          class="button"
          data-testid="use-model"
          aria-label={strings.useModelLabel(name)}
          href={withModel(id, location.href, forBrowsers ? undefined : 'server')}
        >
          {strings.useModel}
        </a>
      )}
    </Card>
  );
}

function More({ shelf, stock }: { readonly shelf: Shelf; readonly stock: Stock }) {
  const others = stock.catalogue.filter(({ here }) => !here);
  if (others.length === 0) return null;
  return (
    <section class="models-part" aria-label={strings.moreModels}>
      <h3>{strings.moreModels}</h3>
      <p class="quiet">{strings.moreModelsNote}</p>
      <ul class="cards">
        {others.map((model) => (
          <MoreCard
            key={model.sourceId}
            model={model}
            fit={fitOf(model.sizeBytes, stock.memoryBytes)}
            shelf={shelf}
          />
        ))}
      </ul>
    </section>
  );
}

interface MoreProps {
  readonly model: CatalogueModel;
  readonly fit: Fit;
  readonly shelf: Shelf;
}

function MoreCard({ model, fit, shelf }: MoreProps) {
  const { sourceId, name, about, sizeBytes, licence, contextLength } = model;
  const pull = shelf.pulls.value.get(sourceId);
  const going = isUnderWay(pull);
  return (
    <Card
      name={name}
      testId={`catalogue-${sourceId}`}
      tag={null}
      facts={strings.modelFacts(sizeBytes, licence, contextLength)}
      fit={fit}
    >
      <p class="quiet" lang="en">
        {about}
      </p>
      {pull && <PullProgress pull={pull} name={name} />}
      <button
        type="button"
        class="button"
        data-testid={going ? 'stop-pull' : 'get-model'}
        aria-label={going ? `${strings.stop}: ${name}` : strings.getModelLabel(name)}
        onClick={() => void (going ? shelf.stop(sourceId) : shelf.get(sourceId))}
      >
        {going ? strings.stop : pull?.status === 'stopped' ? strings.resume : strings.getModel}
      </button>
    </Card>
  );
}

function PullProgress({ pull, name }: { readonly pull: Pull; readonly name: string }) {
  const { status, doneBytes, totalBytes, bytesPerSecond, secondsLeft, note } = pull;
  return (
    <div class="pull" data-testid="pull" data-status={status}>
      {status === 'fetching' && <progress aria-label={name} max={totalBytes} value={doneBytes} />}
      <p class="quiet">
        {status === 'fetching'
          ? strings.pullProgress(doneBytes, totalBytes, bytesPerSecond, secondsLeft)
          : strings.pullState(status)}
      </p>
      {note !== '' && <p class="quiet">{note}</p>}
    </div>
  );
}

interface CardProps {
  readonly name: string;
  readonly testId: string;
  readonly tag: string | null;
  readonly facts: string;
  readonly fit: Fit;
  readonly children: ComponentChildren;
}

function Card({ name, testId, tag, facts, fit, children }: CardProps) {
  return (
    <li class="card" data-testid={testId}>
      <h4>
        {name}
        {tag !== null && <span class="tag">{tag}</span>}
      </h4>
      <p class="quiet">{facts}</p>
      <p class="fit" data-fit={fit}>
        {strings.fit(fit)}
      </p>
      {children}
    </li>
  );
}
