/** The models of which this browser keeps something: list, delete, clear away. */
import { LocalphiError } from '../../shared/errors';
import { parseJson } from '../../shared/json';
import { parseManifest } from '../../shared/manifest';
import type { FileEntry, Manifest } from '../../shared/manifest';
import type { KeptModel, StorageReport } from '../../shared/protocol';
import { filledBytes } from './chunks';
import { fileLock, withLocksAtOnce } from './locks';
import { isPersistent, space } from './space';
import type { FileStore } from './store';
import { dropCacheStore, openCacheStore } from './store-cache';
import { MemoryStore } from './store-memory';
import { openOpfsStore } from './store-opfs';

/** The best place that the browser offers. */
export async function openStore(): Promise<FileStore> {
  return (await openOpfsStore()) ?? (await openCacheStore()) ?? new MemoryStore();
}

export async function storageReport(store: FileStore): Promise<StorageReport> {
  const now = await space();
  const models: KeptModel[] = [];
  for (const [id, text] of await store.manifests()) models.push(await keptModel(store, id, text));
  return {
    models: models.filter(({ keptBytes }) => keptBytes > 0),
    place: store.kind,
    usageBytes: now?.usageBytes ?? null,
    quotaBytes: now?.quotaBytes ?? null,
    persistent: await isPersistent(),
  };
}

/** The manifest of a model that is kept, or null. */
export async function keptManifest(store: FileStore, modelId: string): Promise<Manifest | null> {
  return readable((await store.manifests()).get(modelId));
}

/** Every file that one of the manifest's variants lists, once. */
export function filesOf(manifest: Manifest): readonly FileEntry[] {
  const entries = [...manifest.variants.values()].flatMap(({ files, lora }) =>
    lora ? [...files, lora] : files,
  );
  return [...new Map(entries.map((entry) => [entry.sha256, entry])).values()];
}

/**
 * Deletes the files of a model, those excepted that another model has, too. No-op for a model that is
 * not kept. Rejects with `busy` while one of them is being fetched.
 */
export async function removeModel(store: FileStore, modelId: string): Promise<void> {
  const texts = new Map(await store.manifests());
  const own = mentioned(texts.get(modelId));
  texts.delete(modelId);
  const others = new Set([...texts.values()].flatMap((text) => [...mentioned(text)]));
  const files = [...own].filter((sha256) => !others.has(sha256));
  const done = await withLocksAtOnce(files.map(fileLock), async () => {
    for (const sha256 of files) await store.remove(sha256);
    await store.removeManifest(modelId);
  });
  if (!done) {
    throw new LocalphiError(
      'busy',
      `${modelId} is being fetched, here or in another tab; stop that first`,
    );
  }
}

/** Deletes stored files that no stored manifest mentions, and what is left in a worse place. */
export async function clearAway(store: FileStore): Promise<void> {
  if (store.kind === 'opfs') await dropCacheStore();
  const texts = (await store.manifests()).values();
  const keep = new Set([...texts].flatMap((text) => [...mentioned(text)]));
  const stray = [...(await store.list()).keys()].filter((sha256) => !keep.has(sha256));
  for (const sha256 of stray) {
    await withLocksAtOnce([fileLock(sha256)], () => store.remove(sha256));
  }
}

async function keptModel(store: FileStore, id: string, text: string): Promise<KeptModel> {
  const manifest = readable(text);
  let keptBytes = 0;
  for (const entry of manifest ? filesOf(manifest) : []) {
    const stored = await store.open(entry);
    keptBytes += stored.unknown ? entry.sizeBytes : filledBytes(entry, stored);
  }
  return { id, name: manifest?.name ?? id, keptBytes };
}

/** SHA-256 of every file a manifest lists; none for one of a schema we no longer read. */
function mentioned(text: string | undefined): ReadonlySet<string> {
  const manifest = readable(text);
  return new Set(manifest ? filesOf(manifest).map(({ sha256 }) => sha256) : []);
}

function readable(text: string | undefined): Manifest | null {
  if (text === undefined) return null;
  try {
    return parseManifest(parseJson(text, 'localphi.json'));
  } catch {
    return null;
  }
}
