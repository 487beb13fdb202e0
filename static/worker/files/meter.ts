/** How a download goes, told often enough to look alive and not more. */
import type { LoadProgress } from '../../shared/protocol';

const WINDOW_MS = 5000;
/** A rate says little before this. */
const RATE_AFTER_MS = 300;
const TELL_EVERY_MS = 100;

type Told = Pick<LoadProgress, 'stage' | 'state'>;

export class Meter {
  readonly #totalBytes: number;
  readonly #tell: (progress: LoadProgress) => void;
  readonly #now: () => number;
  readonly #atHand = new Map<string, number>();
  /** What came over the network in the last seconds. */
  #arrivals: { readonly atMs: number; readonly bytes: number }[] = [];
  #told: Told = { stage: 'files', state: 'running' };
  #toldAtMs = -Infinity;

  constructor(
    totalBytes: number,
    tell: (progress: LoadProgress) => void,
    now: () => number = () => performance.now(),
  ) {
    this.#totalBytes = totalBytes;
    this.#tell = tell;
    this.#now = now;
  }

  /** Bytes of a file that are at hand. */
  set(name: string, bytes: number): void {
    this.#atHand.set(name, bytes);
    this.#tellSoon();
  }

  /** Bytes of a file that came over the network; negative for those that did not count. */
  add(name: string, bytes: number): void {
    this.#atHand.set(name, (this.#atHand.get(name) ?? 0) + bytes);
    if (bytes > 0) this.#arrivals.push({ atMs: this.#now(), bytes });
    this.#tellSoon();
  }

  /** Tells at once when anything changes. */
  become(change: Partial<Told>): void {
    const told = { ...this.#told, ...change };
    if (told.stage === this.#told.stage && told.state === this.#told.state) return;
    this.#told = told;
    if (told.state !== 'running') this.#arrivals = [];
    this.tell();
  }

  tell(): void {
    this.#toldAtMs = this.#now();
    const loadedBytes = [...this.#atHand.values()].reduce((sum, bytes) => sum + bytes, 0);
    const bytesPerSecond = this.#told.stage === 'files' ? this.#rate() : null;
    const leftBytes = this.#totalBytes - loadedBytes;
    this.#tell({
      ...this.#told,
      loadedBytes,
      totalBytes: this.#totalBytes,
      bytesPerSecond,
      secondsLeft: bytesPerSecond === null ? null : leftBytes / bytesPerSecond,
    });
  }

  #tellSoon(): void {
    if (this.#now() - this.#toldAtMs >= TELL_EVERY_MS) this.tell();
  }

  #rate(): number | null {
    const nowMs = this.#now();
    this.#arrivals = this.#arrivals.filter(({ atMs }) => nowMs - atMs < WINDOW_MS);
    const elapsedMs = nowMs - (this.#arrivals[0]?.atMs ?? nowMs);
    if (elapsedMs < RATE_AFTER_MS) return null;
    const bytes = this.#arrivals.slice(1).reduce((sum, arrival) => sum + arrival.bytes, 0);
    return bytes > 0 ? (1000 * bytes) / elapsedMs : null;
  }
}
