/** A browser that asks the person may wait for ever. */
const PATIENCE_MS = 10_000;

/** Asks the browser not to delete what this page keeps. Resolves in any case, before long. */
export async function persistStorage(): Promise<void> {
  // Missing outside secure contexts, whatever the types say.
  const storage = navigator.storage as StorageManager | undefined;
  const asked = storage?.persist().catch(() => false);
  await Promise.race([asked, new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))]);
}
