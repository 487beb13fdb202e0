import type { LoadProgress } from '../shared/protocol';
import type { Engine, EngineState, SpaceQuestion } from './engine';
import { ErrorBox } from './error-box';
import { strings } from './strings';

interface Props {
  readonly engine: Engine;
}

/** How loading goes, and afterwards what is worth a word about how it went. */
export function LoadStatus({ engine }: Props) {
  const state = engine.state.value;
  switch (state.phase) {
    case 'loading':
      if (state.question) return <Question engine={engine} question={state.question} />;
      return <Progress engine={engine} progress={state.progress} />;
    case 'failed':
      return (
        <ErrorBox
          error={state.error}
          onRetry={() => {
            engine.start(engine.choice.value);
          }}
        />
      );
    case 'ready':
      return <Notes state={state} />;
    default:
      return state satisfies never;
  }
}

interface ProgressProps extends Props {
  readonly progress: LoadProgress | null;
}

function Progress({ engine, progress }: ProgressProps) {
  const known = progress && progress.stage !== 'session' ? progress : null;
  return (
    <div class="load" data-testid="progress">
      <progress
        aria-label={strings.loading}
        {...(known && { max: known.totalBytes, value: known.loadedBytes })}
      />
      <span>{progressText(progress)}</span>
      {known && <Controls engine={engine} progress={known} />}
    </div>
  );
}

/** They appear after a moment, so that a quick load does not flicker. */
function Controls({ engine, progress }: { engine: Engine; progress: LoadProgress }) {
  const paused = progress.state === 'paused';
  return (
    <span class="load-controls">
      {progress.stage === 'files' && (
        <button
          type="button"
          class="link"
          data-testid="pause"
          onClick={() => {
            engine.hold(!paused);
          }}
        >
          {paused ? strings.resume : strings.pause}
        </button>
      )}
      <button
        type="button"
        class="link"
        data-testid="stop-loading"
        onClick={() => {
          engine.stop();
        }}
      >
        {strings.stopLoading}
      </button>
    </span>
  );
}

function Question({ engine, question }: { engine: Engine; question: SpaceQuestion }) {
  return (
    <div class="error" role="alert" data-testid="space">
      <p>{strings.spaceQuestion(question.needsBytes, question.freeBytes)}</p>
      <div class="load-controls">
        <button
          type="button"
          class="button"
          data-testid="without-keeping"
          onClick={() => {
            engine.goOn();
          }}
        >
          {strings.useWithoutKeeping}
        </button>
        <button
          type="button"
          class="button"
          data-testid="use-server"
          onClick={() => {
            engine.stop();
          }}
        >
          {strings.useServer}
        </button>
      </div>
    </div>
  );
}

function progressText(progress: LoadProgress | null): string {
  if (!progress) return strings.connecting;
  return progress.stage === 'session' ? strings.preparing : strings.downloading(progress);
}

function Notes({ state }: { readonly state: Extract<EngineState, { phase: 'ready' }> }) {
  const { detour, device, notes } = state;
  const lines = notes.map((note) => strings.note(note));
  if (detour) lines.unshift(strings.detour(strings.reason(detour), device));
  if (lines.length === 0) return null;
  return (
    <ul class="notes" data-testid="notes">
      {lines.map((line) => (
        <li key={line}>{line}</li>
      ))}
    </ul>
  );
}
