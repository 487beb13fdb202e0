/** Earlier runs, in this browser's storage; none where it refuses. */
import type { Report } from './report';

const KEY = 'localphi.bench';
const MOST = 50;

/** Oldest first. */
export function earlierRuns(): readonly Report[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? '[]');
    return Array.isArray(kept) ? (kept as Report[]) : [];
  } catch {
    return [];
  }
}

/** Keeps the newest runs; returns all that are kept. */
export function keepRun(made: Report): readonly Report[] {
  const runs = [...earlierRuns(), made].slice(-MOST);
  write(JSON.stringify(runs));
  return runs;
}

export function forgetRuns(): void {
  write(null);
}

function write(text: string | null): void {
  try {
    if (text === null) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, text);
  } catch {
    // Refused storage: nothing is kept.
  }
}
