import { signal, useSignal } from '@preact/signals';
import type { Signal } from '@preact/signals';

import { copyText } from '../page/copy-text';
import { BROWSER_DEVICES } from '../shared/protocol';
import { earlierRuns, forgetRuns } from './history';
import { CONTEXTS } from './plan';
import type { Plan } from './plan';
import { Plot } from './plot';
import { toJsonLine, toMarkdown } from './report';
import type { Report } from './report';
import type { Phase } from './run';
import { formats, strings } from './strings';

export type State =
  | { readonly phase: 'idle' }
  | { readonly phase: 'running'; readonly what: Phase; readonly share: number }
  | { readonly phase: 'failed'; readonly message: string };

interface Props {
  readonly state: Signal<State>;
  readonly runs: Signal<readonly Report[]>;
  readonly peers: readonly string[];
  readonly start: (plan: Plan) => void;
}

const device = signal<(typeof BROWSER_DEVICES)[number]>('wasm');
const rounds = signal(3);
const tokens = signal(16);

export function Bench({ state, runs, peers, start }: Props) {
  const running = state.value.phase === 'running';
  const newest = runs.value.at(-1);
  return (
    <>
      <h1>{strings.title}</h1>
      <p>
        <a href="/">{strings.back}</a>
      </p>
      <p>{strings.intro}</p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          start({
            ...{ device: device.value, contexts: CONTEXTS, tokens: tokens.value },
            ...{ rounds: rounds.value, peers, server: true },
          });
        }}
      >
        <label>
          {strings.device}{' '}
          <select
            value={device.value}
            onChange={({ currentTarget }) => {
              const chosen = BROWSER_DEVICES.find((name) => name === currentTarget.value);
              if (chosen) device.value = chosen;
            }}
          >
            {BROWSER_DEVICES.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        <Whole label={strings.rounds} value={rounds} most={20} />
        <Whole label={strings.tokens} value={tokens} most={256} />
        <button disabled={running} data-testid="run">
          {strings.run}
        </button>
      </form>
      <Status state={state.value} />
      {newest && <Result made={newest} />}
      {runs.value.length > 0 && (
        <section>
          <h2>{strings.earlier}</h2>
          <Plot runs={runs.value} />
          <Runs runs={runs.value} />
          <button
            type="button"
            onClick={() => {
              forgetRuns();
              runs.value = earlierRuns();
            }}
          >
            {strings.forget}
          </button>
        </section>
      )}
    </>
  );
}

function Whole(props: { label: string; value: Signal<number>; most: number }) {
  const { label, value, most } = props;
  return (
    <label>
      {label}{' '}
      <input
        type="number"
        min={1}
        max={most}
        required
        value={value.value}
        onChange={({ currentTarget }) => {
          value.value = currentTarget.valueAsNumber;
        }}
      />
    </label>
  );
}

function Status({ state }: { readonly state: State }) {
  return (
    <p role="status" data-testid="status" data-phase={state.phase}>
      {state.phase === 'running' && `${strings.phases[state.what]} `}
      {state.phase === 'running' && (
        <progress value={state.share} aria-label={strings.phases[state.what]} />
      )}
      {state.phase === 'failed' && `${strings.failed} ${state.message}`}
    </p>
  );
}

function Result({ made }: { readonly made: Report }) {
  const facts = [
    [strings.cold, ms(made.coldMs)],
    [strings.warm, ms(made.warmMs)],
    [strings.heap, made.heapBytes === null ? '–' : formats.megabytes(made.heapBytes)],
    [strings.second, `${ms(made.secondTurn.secondMs)} (${times(made.secondTurnRatio)})`],
    [strings.slowdown, made.longByShort === null ? '–' : times(made.longByShort)],
    [
      strings.equal,
      made.equalToServer === null ? '–' : `${formats.hundredths(100 * made.equalToServer)} %`,
    ],
  ] as const;
  return (
    <section data-testid="result">
      <h2>
        {made.modelId}, {made.device}
      </h2>
      <table>
        <thead>
          <tr>
            <td />
            {strings.columns.map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {made.rows.map((row) => (
            <tr key={`${row.subject} ${row.context}`}>
              <td>{row.subject}</td>
              <td>{formats.count(row.promptTokens)}</td>
              <td>{ms(row.firstTokenMs)}</td>
              <td>{formats.rate(row.prefillPerSecond)}</td>
              <td>{formats.rate(row.decodePerSecond)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <dl>
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <p>
        <Copy label={strings.copyMarkdown} text={toMarkdown(made)} />{' '}
        <Copy label={strings.copyJson} text={toJsonLine(made)} />
      </p>
      <pre data-testid="json" tabIndex={0} aria-label="JSON">
        {toJsonLine(made)}
      </pre>
    </section>
  );
}

function Copy({ label, text }: { readonly label: string; readonly text: string }) {
  const outcome = useSignal<'copied' | 'failed' | null>(null);
  return (
    <>
      <button
        type="button"
        onClick={() => {
          void copyText(text).then((how) => {
            outcome.value = how;
          });
        }}
      >
        {label}
      </button>{' '}
      <span role="status">
        {outcome.value && (outcome.value === 'copied' ? strings.copied : strings.copyFailed)}
      </span>
    </>
  );
}

function ms(value: number): string {
  return `${formats.rate(value)} ms`;
}

function times(ratio: number): string {
  return `${formats.hundredths(ratio)} ×`;
}

function Runs({ runs }: { readonly runs: readonly Report[] }) {
  return (
    <table data-testid="runs">
      <tbody>
        {runs.toReversed().map((run) => (
          <tr key={run.date}>
            <td>{run.date.slice(0, 16).replace('T', ' ')}</td>
            <td>{run.modelId}</td>
            <td>{run.device}</td>
            {run.rows.map((row) => (
              <td key={`${row.subject} ${row.context}`}>
                {row.subject} {row.context}: {formats.rate(row.decodePerSecond)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
