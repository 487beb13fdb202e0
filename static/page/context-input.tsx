import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';

import type { Engine } from './engine';
import type { Shelf } from './models/shelf';
import { SHORTEST_CONTEXT, preferences } from './preferences';
import { strings } from './strings';

interface Props {
  readonly engine: Engine;
  readonly shelf: Shelf;
}

interface Choices {
  readonly longest: number;
  readonly tokenBytes: number | null;
}

/** How much of a chat the model reads in this browser, and what that takes; counts when it is loaded again. */
export function ContextInput({ engine, shelf }: Props) {
  const modelId = engine.modelId.value;
  const choices = useChoices(engine, shelf);
  const chosen = useSignal(contextLengthOf(modelId));
  if (!choices || modelId === null) return null;
  const { longest, tokenBytes } = choices;
  const name = (tokens: number) =>
    strings.contextChoice(tokens, tokenBytes === null ? null : tokens * tokenBytes);
  return (
    <div class="field">
      <label for="context-length">{strings.contextLength}</label>
      <select
        id="context-length"
        data-testid="context-length"
        onChange={({ currentTarget: { value } }) => {
          chosen.value = value === '' ? null : Number(value);
          keep(modelId, chosen.value);
        }}
      >
        <option value="">{strings.contextAll(name(longest))}</option>
        {shorterThan(longest, chosen.value).map((tokens) => (
          <option key={tokens} value={tokens} selected={tokens === chosen.value}>
            {name(tokens)}
          </option>
        ))}
      </select>
      <span class="hint">{strings.contextHint}</span>
      {chosen.value !== engine.wantedContext.value && (
        <span class="hint" role="status" data-testid="context-later">
          {strings.contextLater}{' '}
          <button
            type="button"
            class="link"
            data-testid="load-again"
            onClick={() => {
              engine.start(engine.choice.peek());
            }}
          >
            {strings.loadAgain}
          </button>
        </span>
      )}
    </div>
  );
}

/** Half, a quarter and so on, and what was chosen, longest first. */
function shorterThan(longest: number, chosen: number | null): readonly number[] {
  const lengths: number[] = chosen !== null && chosen < longest ? [chosen] : [];
  for (let tokens = longest / 2; tokens >= SHORTEST_CONTEXT && lengths.length < 6; tokens /= 2) {
    if (!lengths.includes(Math.floor(tokens))) lengths.push(Math.floor(tokens));
  }
  return lengths.sort((a, b) => b - a);
}

/** As it is loaded; where it is not, as its description has it. Null where no browser runs the model. */
function useChoices(engine: Engine, shelf: Shelf): Choices | null {
  const choices = useSignal<Choices | null>(null);
  const state = engine.state.value;
  const modelId = engine.modelId.value;
  const loaded = state.phase === 'ready' ? state.model : null;
  useEffect(() => {
    if (loaded) {
      choices.value = { longest: loaded.longestContext, tokenBytes: loaded.tokenBytes };
    } else if (choices.peek() === null) {
      void shelf.model(modelId).then((model) => {
        if (!model?.forBrowsers) return;
        choices.value = { longest: model.contextLength, tokenBytes: model.browserTokenBytes };
      });
    }
  }, [loaded, modelId, shelf, choices]);
  return choices.value;
}

function contextLengthOf(modelId: string | null): number | null {
  return modelId === null ? null : (preferences.contextLengths[modelId] ?? null);
}

function keep(modelId: string, tokens: number | null): void {
  const others = Object.entries(preferences.contextLengths).filter(([id]) => id !== modelId);
  const own = tokens === null ? [] : [[modelId, tokens] as const];
  preferences.contextLengths = Object.fromEntries([...others, ...own]);
}

/** Forgets what was chosen for the model. */
export function resetContextLength(modelId: string | null): void {
  if (modelId !== null) keep(modelId, null);
}
