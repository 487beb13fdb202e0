/** The worker's side of the protocol: one model, one exchange at a time. */
import { toShape } from '../shared/errors';
import type {
  ChatMessage,
  KeyMessage,
  LoadMessage,
  LoadNote,
  PageMessage,
  WorkerMessage,
} from '../shared/protocol';
import { ModelFetcher } from './files/fetch-model';
import { openOpfsStore } from './files/store-opfs';
import { MemoryStore } from './files/store-memory';
import { Model } from './model';
import { threadCount } from './runtime/ort';
import { setServerKey } from './server-fetch';

const cancels = new Map<number, AbortController>();
let model: Model | null = null;
let queue: Promise<void> = Promise.resolve();

self.addEventListener('message', ({ data }: MessageEvent<PageMessage | KeyMessage>) => {
  switch (data.type) {
    case 'key':
      setServerKey(data.key);
      break;
    case 'load':
      enqueue(() => load(data));
      break;
    case 'chat':
      cancels.set(data.id, new AbortController());
      enqueue(() => chat(data));
      break;
    case 'cancel':
      cancels.get(data.id)?.abort();
      break;
    default:
      data satisfies never;
  }
});

/** Runs work after all earlier work, whether that failed or not. */
function enqueue(work: () => Promise<void>): void {
  queue = queue.catch(() => {}).then(work);
}

async function load({ id, modelId, choice }: LoadMessage): Promise<void> {
  try {
    await model?.dispose();
    model = null;
    const fetcher = new ModelFetcher(modelId, (await openOpfsStore()) ?? new MemoryStore());
    const { manifest, fresh } = await fetcher.manifest();
    const next = new Model(manifest, fetcher, (progress) => {
      post({ id, type: 'progress', progress });
    });
    const device = await next.load(choice);
    if (device === null) {
      post({ id, type: 'unavailable', rungs: next.rungs });
      return;
    }
    model = next;
    if (fresh) await fetcher.prune();
    const notes = notesOn(fetcher, fresh);
    const { name, contextLength } = manifest;
    const summary = { id: manifest.id, name, contextLength };
    post({ id, type: 'loaded', device, model: summary, rungs: next.rungs, notes });
  } catch (error) {
    post({ id, type: 'error', error: toShape(error, 'worker') });
  }
}

function notesOn(fetcher: ModelFetcher, fresh: boolean): readonly LoadNote[] {
  const notes: LoadNote[] = [];
  if (threadCount() === 1 && navigator.hardwareConcurrency > 1) notes.push('one-thread');
  if (!fetcher.lasting) notes.push('not-stored');
  if (!fresh) notes.push('stored-manifest');
  return notes;
}

async function chat({ id, messages, options }: ChatMessage): Promise<void> {
  const signal = cancels.get(id)!.signal;
  const current = model;
  try {
    if (!current) throw new Error('no model is loaded');
    const end = await current.chat(
      messages,
      options,
      {
        onReading: (doneTokens, totalTokens) => {
          post({ id, type: 'reading', doneTokens, totalTokens });
        },
        onText: (text) => {
          post({ id, type: 'text', text });
        },
        onMoved: (device) => {
          post({ id, type: 'moved', device, rungs: current.rungs });
        },
      },
      { signal },
    );
    post({ id, type: 'done', ...end });
  } catch (error) {
    post({ id, type: 'error', error: toShape(error, 'worker') });
  } finally {
    cancels.delete(id);
  }
}

function post(message: WorkerMessage): void {
  self.postMessage(message);
}
