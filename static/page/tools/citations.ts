/** Passages that a search in documents gave, numbered through an answer, so that it can cite them. */
import { createContext } from 'preact';

import type { ToolRun } from './run';

export interface Passage {
  /** Where it stands: the file, with heading or page where they are known. */
  readonly source: string;
  readonly text: string;
}

export interface Citation extends Passage {
  /** From 1, over all calls of the answer. */
  readonly number: number;
  readonly run: ToolRun;
  /** Of the element that shows the passage. */
  readonly elementId: string;
}

/** A result that is a list of passages, and nothing else, as such; any other result has none. */
export function passagesIn(result: string): readonly Passage[] {
  if (!result.startsWith('[')) return [];
  try {
    const list: unknown = JSON.parse(result);
    return Array.isArray(list) && list.every(isPassage) ? list : [];
  } catch {
    return []; // a text that begins like a list
  }
}

/** id: of the answer. */
export function citationsOf(id: string, runs: readonly ToolRun[]): readonly Citation[] {
  return runs
    .flatMap((run) => run.passages.value.map((passage) => ({ ...passage, run })))
    .map((found, i) => ({ ...found, number: i + 1, elementId: `passage-${id}-${i + 1}` }));
}

/** What numbers in brackets mean in the text inside; nothing where no passages were found. */
export const Citations = createContext<readonly Citation[]>([]);

/** Unfolds the passage, and what it lies in, and goes there. */
export function showPassage({ elementId }: Citation): void {
  const passage = document.getElementById(elementId);
  for (let at = passage; at; at = at.parentElement) {
    if (at instanceof HTMLDetailsElement) at.open = true;
  }
  const summary = passage?.querySelector('summary');
  summary?.focus({ preventScroll: true }); // which would stop below the bars
  summary?.scrollIntoView({ block: 'center' });
}

function isPassage(value: unknown): value is Passage {
  if (typeof value !== 'object' || value === null) return false;
  const { source, text } = value as Readonly<Record<string, unknown>>;
  return typeof source === 'string' && typeof text === 'string';
}
