/** One tab at a time. */
interface LockOptions {
  readonly signal: AbortSignal;
  /** Told when somebody else has the lock, and again with `false` when it is ours. */
  readonly onWait?: (waiting: boolean) => void;
}

/**
 * What the work gives, run while no other tab runs work under the same name. A tab that is closed
 * gives its locks back. Without locks (browsers before 2022) the work runs at once.
 * Rejects with the signal's reason while it waits.
 */
export async function withLock<T>(
  name: string,
  work: () => Promise<T>,
  { signal, onWait }: LockOptions,
): Promise<T> {
  const locks = lockManager();
  if (!locks) return work();
  const done: { value: T }[] = [];
  await locks.request(name, { ifAvailable: true }, async (lock) => {
    if (lock) done.push({ value: await work() });
  });
  if (done[0]) return done[0].value;
  onWait?.(true);
  try {
    return await locks.request(name, { signal }, () => {
      onWait?.(false);
      return work();
    });
  } finally {
    onWait?.(false);
  }
}

/** What the work gives, or null when another tab has one of the locks. */
export async function withLocksAtOnce<T>(
  names: readonly string[],
  work: () => Promise<T>,
): Promise<{ readonly value: T } | null> {
  const locks = lockManager();
  const [name, ...rest] = names;
  if (!locks || name === undefined) return { value: await work() };
  return locks.request(name, { ifAvailable: true }, (lock) =>
    lock ? withLocksAtOnce(rest, work) : null,
  );
}

export function fileLock(sha256: string): string {
  return `localphi-${sha256}`;
}

/** Missing outside secure contexts, whatever the types say. */
function lockManager(): LockManager | null {
  const locks = navigator.locks as LockManager | undefined;
  return locks ?? null;
}
