/**
 * Guesses how a text goes on by how it went on before (prompt lookup, n-gram speculation).
 *
 * Answers repeat what is in the question: names, code, JSON keys. Where the last few ids have stood before,
 * the ids that followed them are read together with the next one, and those that would have been chosen
 * anyway cost no run of their own. What is chosen stays the same.
 */

/** Ids that must have stood together before. */
const MATCH = 3;
/** Most ids to guess at once. */
const DRAFT = 6;
/** How the share of right guesses is remembered: the weight of the latest. */
const MEMORY = 0.15;
/** Below this share guessing costs more than it saves, and pauses. */
const WORTH = 0.3;
/** Ids to wait before the next try. */
const PAUSE = 48;

export class PromptLookup {
  readonly #ids: number[] = [];
  /** Where the id after a run of MATCH ids stands, the latest; by the run. */
  readonly #after = new Map<string, number>();
  #rightShare = 1;
  #pausedUntil = 0;

  constructor(ids: Iterable<number>) {
    for (const id of ids) this.push(id);
  }

  /** Tells the next id of the text. */
  push(id: number): void {
    if (this.#ids.length >= MATCH) this.#after.set(this.#lastRun(), this.#ids.length);
    this.#ids.push(id);
  }

  /** At most `most` ids that may come next; often none. */
  guess(most: number): readonly number[] {
    if (this.#ids.length < Math.max(MATCH, this.#pausedUntil)) return [];
    const start = this.#after.get(this.#lastRun());
    return start === undefined ? [] : this.#ids.slice(start, start + Math.min(DRAFT, most));
  }

  /** Tells how many ids of a guess were right. */
  score(right: number, guessed: number): void {
    this.#rightShare += MEMORY * (right / guessed - this.#rightShare);
    if (this.#rightShare >= WORTH) return;
    this.#rightShare = 1;
    this.#pausedUntil = this.#ids.length + PAUSE;
  }

  #lastRun(): string {
    return this.#ids.slice(-MATCH).join();
  }
}
