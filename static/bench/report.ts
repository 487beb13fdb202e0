/** What was measured, as figures, Markdown and one line of JSON. */
import type { Timed } from './subject';

export interface SecondTurn {
  readonly coldTokens: number;
  readonly coldMs: number;
  /** Tokens of the second prompt that had not been read before. */
  readonly newTokens: number;
  readonly secondMs: number;
}

export interface Measured {
  readonly modelId: string;
  readonly device: string;
  readonly tokens: number;
  readonly rounds: number;
  readonly coldMs: number;
  readonly warmMs: number;
  /** Of page and workers, with the model loaded; null where the browser does not tell. */
  readonly heapBytes: number | null;
  readonly cells: readonly {
    readonly subject: string;
    readonly context: number;
    readonly answers: readonly Timed[];
  }[];
  readonly secondTurns: readonly SecondTurn[];
  /** Tokens of the server's answers that ours begin with; null where it was not asked. */
  readonly server: { readonly equal: number; readonly of: number } | null;
}

/** Medians of one subject behind prompts of one length. */
export interface Row {
  readonly subject: string;
  readonly context: number;
  readonly promptTokens: number;
  readonly firstTokenMs: number;
  readonly prefillPerSecond: number;
  readonly decodePerSecond: number;
  /** Median over the rounds of our decode rate by this subject's; null for ours. */
  readonly ratio: number | null;
  /** Share of its tokens that are ours, up to the first that is not; null for ours. */
  readonly sameTokens: number | null;
}

export interface Report {
  readonly bench: 'browser';
  readonly date: string;
  readonly machine: Machine;
  readonly modelId: string;
  readonly device: string;
  readonly tokens: number;
  readonly rounds: number;
  readonly rows: readonly Row[];
  readonly coldMs: number;
  readonly warmMs: number;
  readonly heapBytes: number | null;
  readonly secondTurn: SecondTurn;
  /** Median over the rounds of second by cold. */
  readonly secondTurnRatio: number;
  /** Decode rate behind the longest prompt by that behind the shortest, median over the rounds. */
  readonly longByShort: number | null;
  /** Share of the server's tokens; null where it was not asked. */
  readonly equalToServer: number | null;
}

export interface Machine {
  readonly browser: string;
  readonly cores: number;
  readonly adapter: string | null;
}

export function report(measured: Measured, machine: Machine, date: string): Report {
  const { modelId, device, tokens, rounds, coldMs, warmMs, heapBytes, cells, server } = measured;
  const own = cells.filter(({ subject }) => subject === cells[0]?.subject);
  const ratios = measured.secondTurns.map((turn) => turn.secondMs / turn.coldMs);
  return {
    ...{ bench: 'browser', date, machine, modelId, device, tokens, rounds },
    rows: cells.map((cell) =>
      row(
        cell,
        own.find(({ context }) => context === cell.context)!,
      ),
    ),
    ...{ coldMs, warmMs, heapBytes },
    secondTurn: middle(measured.secondTurns, (turn) => turn.secondMs),
    secondTurnRatio: median(ratios),
    longByShort: own.length > 1 ? median(quotients(own.at(-1)!.answers, own[0]!.answers)) : null,
    equalToServer: server && server.of > 0 ? server.equal / server.of : null,
  };
}

type Cell = Measured['cells'][number];

function row({ subject, context, answers }: Cell, own: Cell): Row {
  const promptTokens = median(answers.map(({ promptIds }) => promptIds.length));
  const read = answers.map(
    ({ promptIds, cachedTokens, firstTokenMs }) =>
      ((promptIds.length - cachedTokens) * 1000) / firstTokenMs,
  );
  const isOwn = subject === own.subject;
  return {
    ...{ subject, context, promptTokens },
    firstTokenMs: median(answers.map(({ firstTokenMs }) => firstTokenMs)),
    prefillPerSecond: median(read),
    decodePerSecond: median(answers.map((answer) => answer.tokensPerSecond ?? 0)),
    ratio: isOwn ? null : median(quotients(own.answers, answers)),
    sameTokens: isOwn ? null : same(own.answers, answers),
  };
}

/** Decode rate of the one by that of the other, round by round. */
function quotients(ones: readonly Timed[], others: readonly Timed[]): number[] {
  return ones.map(
    ({ tokensPerSecond }, round) =>
      (tokensPerSecond ?? 0) / (others[round]?.tokensPerSecond ?? NaN),
  );
}

function same(ones: readonly Timed[], others: readonly Timed[]): number {
  const total = { same: 0, of: 0 };
  for (const [round, { ids }] of others.entries()) {
    const different = ids.findIndex((id, i) => id !== ones[round]?.ids[i]);
    total.same += different === -1 ? ids.length : different;
    total.of += ids.length;
  }
  return total.same / total.of;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  const half = sorted.length / 2;
  return (sorted[Math.floor(half)]! + sorted[Math.ceil(half) - 1]!) / 2;
}

function middle<T>(items: readonly T[], by: (item: T) => number): T {
  return items.toSorted((one, other) => by(one) - by(other))[Math.floor(items.length / 2)]!;
}

export function toJsonLine(made: Report): string {
  return JSON.stringify(made);
}

export function toMarkdown(made: Report): string {
  const { machine, secondTurn } = made;
  const adapter = machine.adapter === null ? '' : `, ${machine.adapter}`;
  const lines = [
    `## ${made.date.slice(0, 10)}: ${made.modelId} in the browser on ${made.device}`,
    '',
    `${machine.browser}, ${machine.cores} cores${adapter}; answers of ${made.tokens} tokens, ` +
      `medians of ${made.rounds} rounds in turn.`,
    '',
    '| | prompt | first token | prefill tokens/s | decode tokens/s | ours by theirs | same tokens |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...made.rows.map(
      (row) =>
        `| ${row.subject} | ${row.promptTokens} | ${ms(row.firstTokenMs)} | ` +
        `${rate(row.prefillPerSecond)} | ${rate(row.decodePerSecond)} | ` +
        `${row.ratio === null ? '' : `${row.ratio.toFixed(2)} x`} | ${percent(row.sameTokens)} |`,
    ),
    '',
    ...sentences(made).map((sentence) => `- ${sentence}`),
    `- second turn behind ${secondTurn.coldTokens} tokens: ${secondTurn.newTokens} new ones, first token ` +
      `after ${ms(secondTurn.secondMs)}, cold ${ms(secondTurn.coldMs)} (${made.secondTurnRatio.toFixed(3)} x)`,
  ];
  return `${lines.join('\n')}\n`;
}

function sentences(made: Report): string[] {
  const said = [`load: cold ${ms(made.coldMs)}, from the browser's storage ${ms(made.warmMs)}`];
  if (made.heapBytes !== null)
    said.push(`JS heap, loaded: ${(made.heapBytes / 1e6).toFixed(1)} MB`);
  if (made.longByShort !== null) {
    said.push(`decode behind the longest prompt by the shortest: ${made.longByShort.toFixed(2)} x`);
  }
  if (made.equalToServer !== null) {
    said.push(`tokens equal to the server's: ${percent(made.equalToServer)}`);
  }
  return said;
}

export function ms(value: number): string {
  return `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}

export function rate(value: number): string {
  return value.toFixed(value < 100 ? 1 : 0);
}

export function percent(share: number | null): string {
  return share === null ? '' : `${(100 * share).toFixed(share === 1 ? 0 : 1)} %`;
}
