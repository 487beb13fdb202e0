/** Cuts a stream of text at the first stop string, which itself is left out. */
export class StopStrings {
  readonly #stops: readonly string[];
  #held = '';

  /** Empty strings stop nothing and are ignored. */
  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== '');
  }

  /** Text that is safe to show, and whether a stop string has come. Nothing may follow one. */
  push(text: string): { readonly text: string; readonly stopped: boolean } {
    const seen = this.#held + text;
    const cut = firstOf(seen, this.#stops);
    if (cut !== null) return { text: seen.slice(0, cut), stopped: true };
    const keep = longestStart(seen, this.#stops);
    this.#held = seen.slice(seen.length - keep);
    return { text: seen.slice(0, seen.length - keep), stopped: false };
  }

  /** What was held back and turned out to be ordinary text. */
  flush(): string {
    const held = this.#held;
    this.#held = '';
    return held;
  }
}

/** Where the earliest stop string begins, or null. */
function firstOf(text: string, stops: readonly string[]): number | null {
  const places = stops.map((stop) => text.indexOf(stop)).filter((place) => place >= 0);
  return places.length > 0 ? Math.min(...places) : null;
}

/** Length of the longest end of the text that a stop string begins with. */
function longestStart(text: string, stops: readonly string[]): number {
  let longest = 0;
  for (const stop of stops) {
    for (let n = Math.min(stop.length - 1, text.length); n > longest; n--) {
      if (text.endsWith(stop.slice(0, n))) longest = n;
    }
  }
  return longest;
}
