/** Decode rates of runs as bars, one group for each length of prompt. */
import type { Report } from './report';
import { formats, strings } from './strings';

const WIDTH = 640;
const BAR = 18;
const LABEL = 190;
const MOST_RUNS = 5;

interface Bar {
  readonly label: string;
  readonly value: number;
  readonly newest: boolean;
}

export function Plot({ runs }: { readonly runs: readonly Report[] }) {
  const bars = barsOf(runs.slice(-MOST_RUNS));
  const most = Math.max(...bars.map(({ value }) => value));
  const height = bars.length * (BAR + 4);
  return (
    <svg viewBox={`0 0 ${WIDTH} ${height}`} role="img" aria-label={strings.plot}>
      {bars.map(({ label, value, newest }, i) => (
        <g key={label + String(i)} transform={`translate(0 ${i * (BAR + 4)})`}>
          <text x={LABEL - 6} y={BAR - 5} text-anchor="end">
            {label}
          </text>
          <rect
            class={newest ? 'newest' : 'earlier'}
            x={LABEL}
            width={(value / most) * (WIDTH - LABEL - 60)}
            height={BAR}
          />
          <text x={LABEL + (value / most) * (WIDTH - LABEL - 60) + 6} y={BAR - 5}>
            {formats.rate(value)}
          </text>
        </g>
      ))}
    </svg>
  );
}

/** Runs beside each other, prompt by prompt, so that the eye compares what belongs together. */
function barsOf(runs: readonly Report[]): readonly Bar[] {
  const contexts = [...new Set(runs.flatMap(({ rows }) => rows.map(({ context }) => context)))];
  return contexts
    .sort((one, other) => one - other)
    .flatMap((context) =>
      runs.flatMap((run, i) =>
        run.rows
          .filter((row) => row.context === context)
          .map(({ subject, decodePerSecond }) => ({
            label: `${run.date.slice(5, 16)} ${subject} ${run.device} ${context}`,
            value: decodePerSecond,
            newest: i === runs.length - 1,
          })),
      ),
    );
}
