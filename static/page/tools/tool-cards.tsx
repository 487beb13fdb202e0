import type { Citation } from './citations';
import type { ToolRun } from './run';
import { toolWords } from './words';

interface Props {
  readonly runs: readonly ToolRun[];
  readonly citations: readonly Citation[];
}

/** What the model asked for, and what came of it: one card for each call. */
export function ToolCards({ runs, citations }: Props) {
  if (runs.length === 0) return null;
  return (
    <ul class="tool-cards">
      {runs.map((run, i) => (
        <li key={i}>
          <ToolCard run={run} citations={citations.filter((one) => one.run === run)} />
        </li>
      ))}
    </ul>
  );
}

interface CardProps {
  readonly run: ToolRun;
  /** The passages that it has found. */
  readonly citations: readonly Citation[];
}

function ToolCard({ run, citations }: CardProps) {
  const words = toolWords();
  const { state, result } = run.now.value;
  const name = words.names[run.name] ?? words.onServer(run.name);
  if (state === 'asking') return <Question run={run} name={name} />;
  if (state === 'running') {
    return (
      <p class="tool-card" data-testid="tool-card" data-state={state} role="status">
        {words.running(name)}
      </p>
    );
  }
  return (
    <details class="tool-card" data-testid="tool-card" data-state={state}>
      <summary>{words[state](name)}</summary>
      <dl>
        <dt>{words.given}</dt>
        <dd>
          <code>{run.arguments}</code>
        </dd>
        <dt>{words.result}</dt>
        <dd>{citations.length > 0 ? <Passages citations={citations} /> : <code>{result}</code>}</dd>
      </dl>
    </details>
  );
}

function Passages({ citations }: Pick<CardProps, 'citations'>) {
  return (
    <ul>
      {citations.map(({ number, source, text, elementId }) => (
        <li key={number}>
          <details id={elementId} data-testid="passage">
            <summary>
              {number} {source}
            </summary>
            <p>{text}</p>
          </details>
        </li>
      ))}
    </ul>
  );
}

function Question({ run, name }: { readonly run: ToolRun; readonly name: string }) {
  const words = toolWords();
  return (
    <div class="tool-card" data-testid="tool-card" data-state="asking" role="group">
      <p role="status">{words.asks(name)}</p>
      <p>
        <code>{run.arguments}</code>
      </p>
      <div class="tool-card-foot">
        <button
          type="button"
          class="button primary"
          data-testid="allow-tool"
          onClick={() => {
            run.decide(true);
          }}
        >
          {words.allow}
        </button>
        <button
          type="button"
          class="button"
          data-testid="refuse-tool"
          onClick={() => {
            run.decide(false);
          }}
        >
          {words.refuse}
        </button>
      </div>
    </div>
  );
}
