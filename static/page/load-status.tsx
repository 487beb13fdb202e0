import type { LoadProgress } from '../shared/protocol';
import type { Engine, EngineState } from './engine';
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
      return <Progress progress={state.progress} />;
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

function Progress({ progress }: { readonly progress: LoadProgress | null }) {
  const known = progress?.stage === 'files' ? progress : null;
  return (
    <div class="load" data-testid="progress">
      <progress
        aria-label={strings.loading}
        {...(known && { max: known.totalBytes, value: known.loadedBytes })}
      />
      <span>{progressText(progress)}</span>
    </div>
  );
}

function progressText(progress: LoadProgress | null): string {
  if (!progress) return strings.connecting;
  if (progress.stage === 'session') return strings.preparing;
  return strings.progress(progress.loadedBytes, progress.totalBytes, progress.bytesPerSecond);
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
