/** The worker's side of the protocol: one model, one exchange at a time. */
import { toShape } from '../shared/errors';
import type {
  ChatMessage,
  CheckMessage,
  KeyMessage,
  LoadMessage,
  LoadNote,
  PageMessage,
  WorkerMessage,
} from '../shared/protocol';
import { Exchanges } from './exchanges';
import type { Exchange } from './exchanges';
import { ModelFetcher } from './files/fetch-model';
import {
  clearAway,
  filesOf,
  keptManifest,
  openStore,
  removeModel,
  storageReport,
} from './files/kept-models';
import { Model } from './model';
import { threadCount, useOneThread } from './runtime/ort';
import { setServer } from './server-fetch';

/** Disks rot slowly; comparing gigabytes at each visit would cost seconds and battery. */
const CHECK_EVERY_MS = 7 * 24 * 3600 * 1000;

const exchanges = new Exchanges();
let model: Model | null = null;
let queue: Promise<unknown> = Promise.resolve();

self.addEventListener('message', ({ data }: MessageEvent<PageMessage | KeyMessage>) => {
  switch (data.type) {
    case 'key':
      setServer(data.key, data.serverUrl);
      break;
    case 'load':
      answer(data.id, (exchange) => enqueue(() => load(data, exchange)));
      break;
    case 'chat':
      answer(data.id, (exchange) => enqueue(() => chat(data, exchange)));
      break;
    case 'kept':
      answer(data.id, async () => {
        post({ id: data.id, type: 'kept', storage: await storageReport(await openStore()) });
      });
      break;
    case 'remove':
      answer(data.id, async () => {
        await removeModel(await openStore(), data.modelId);
        post({ id: data.id, type: 'removed' });
      });
      break;
    case 'check':
      answer(data.id, (exchange) => check(data, exchange));
      break;
    case 'cancel':
    case 'pause':
    case 'resume':
    case 'go-on':
      exchanges.steer(data);
      break;
    default:
      data satisfies never;
  }
});

if ('locks' in navigator) {
  const lock = `localphi-worker-${crypto.randomUUID()}`;
  void navigator.locks.request(lock, () => {
    post({ id: 0, type: 'alive', lock });
    return new Promise(() => {}); // let go of when this worker ends, however it ends
  });
}

/** Runs the work of an exchange, which can be steered meanwhile; what it throws is its last message. */
function answer(id: number, work: (exchange: Exchange) => Promise<void>): void {
  const exchange = exchanges.begin(id);
  work(exchange)
    .catch((error: unknown) => {
      post({ id, type: 'error', error: toShape(error, 'worker') });
    })
    .finally(() => {
      exchanges.end(id);
    });
}

/** Runs work after all earlier work, whether that failed or not. */
function enqueue(work: () => Promise<void>): Promise<void> {
  const done = queue.catch(() => {}).then(work);
  queue = done;
  return done;
}

async function load(message: LoadMessage, exchange: Exchange): Promise<void> {
  const { id, modelId, choice, oneThread, contextLength } = message;
  if (oneThread) useOneThread();
  await model?.dispose();
  model = null;
  const store = await openStore();
  const fetcher = new ModelFetcher(modelId, store);
  const { manifest, fresh } = await fetcher.manifest();
  const next = new Model(manifest, fetcher, contextLength, {
    ...exchange,
    onProgress: (progress) => {
      post({ id, type: 'progress', progress });
    },
    onPlan: (fetchBytes) => {
      post({ id, type: 'plan', fetchBytes });
      return exchange.goneOn();
    },
    onSpace: (needsBytes, freeBytes) => {
      post({ id, type: 'space', needsBytes, freeBytes });
      return exchange.goneOn();
    },
  });
  const device = await next.load(choice, (device) => {
    post({ id, type: 'trying', device });
  });
  if (device === null) {
    post({ id, type: 'unavailable', rungs: next.rungs });
    return;
  }
  model = next;
  if (fresh) await clearAway(store).catch(() => {}); // untidy, but the model is there
  const notes = notesOn(fetcher, fresh);
  post({ id, type: 'loaded', device, model: next.summary, rungs: next.rungs, notes });
}

function notesOn(fetcher: ModelFetcher, fresh: boolean): readonly LoadNote[] {
  const notes: LoadNote[] = [];
  if (threadCount() === 1 && navigator.hardwareConcurrency > 1) notes.push('one-thread');
  if (!fetcher.lasting) notes.push('not-stored');
  if (!fresh) notes.push('stored-manifest');
  return notes;
}

async function chat({ id, messages, options }: ChatMessage, { signal }: Exchange): Promise<void> {
  const current = model;
  if (!current) throw new Error('no model is loaded');
  const ids: number[] = []; // chosen, and not told yet
  const end = await current.chat(
    messages,
    options,
    {
      onReading: (doneTokens, totalTokens) => {
        post({ id, type: 'reading', doneTokens, totalTokens });
      },
      onToken: (chosen) => {
        ids.push(chosen);
      },
      onText: (text) => {
        post({ id, type: 'text', text, ids: ids.splice(0) });
      },
      onCall: (piece) => {
        post({ id, ...piece, ids: ids.splice(0) });
      },
      onMoved: (device) => {
        post({ id, type: 'moved', device, rungs: current.rungs });
      },
    },
    { signal },
  );
  post({ id, type: 'done', ...end });
}

/** Beside the queue: answers go on meanwhile. */
async function check({ id, modelId, force }: CheckMessage, exchange: Exchange): Promise<void> {
  const store = await openStore();
  const manifest = await keptManifest(store, modelId);
  const entries = manifest ? filesOf(manifest) : [];
  const fetcher = new ModelFetcher(modelId, store);
  const beforeMs = force ? Infinity : Date.now() - CHECK_EVERY_MS;
  const report = await fetcher.check(entries, beforeMs, exchange);
  const affected = report.repaired.length > 0 && model?.manifest.id === modelId ? model : null;
  if (affected) await enqueue(() => affected.reopen());
  post({ id, type: 'checked', report, rungs: affected?.rungs ?? null });
}

function post(message: WorkerMessage): void {
  self.postMessage(message);
}
