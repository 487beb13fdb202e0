/** How much the browser lets this page keep. */

export interface Space {
  readonly usageBytes: number;
  readonly quotaBytes: number;
}

/** Null where the browser does not tell. */
export async function space(): Promise<Space | null> {
  try {
    const { usage, quota } = await navigator.storage.estimate();
    if (usage === undefined || quota === undefined) return null;
    return { usageBytes: usage, quotaBytes: quota };
  } catch {
    return null;
  }
}

/** What more it would keep; an estimate, so it may still refuse. Null where it does not tell. */
export async function freeBytes(): Promise<number | null> {
  const now = await space();
  return now && Math.max(0, now.quotaBytes - now.usageBytes);
}

/** Whether the browser asks before it deletes what is kept. */
export async function isPersistent(): Promise<boolean> {
  try {
    return await navigator.storage.persisted();
  } catch {
    return false;
  }
}
