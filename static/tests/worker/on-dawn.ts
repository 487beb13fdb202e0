/**
 * The WebGPU rung on Dawn in Node: the WebGPU of Chromium, and there with an adapter that computes float16.
 *
 * Bundled and run by tests/browser/test_float16.py. Its argument is a job, what it prints are its steps.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { parseDecoderConfig, parseManifest, withGraphOf } from '../../shared/manifest';
import { checkCanary } from '../../worker/canary';
import { NO_RULES, Sampler } from '../../worker/runtime/sampler';
import { openWebGpuSession } from '../../worker/runtime/session';
import type { DecoderSession } from '../../worker/runtime/decoder';

/** Paths of the model's folder, of Dawn's module, and of the folder with ONNX Runtime Web's files. */
interface Job {
  readonly folder: string;
  readonly dawn: string;
  readonly ort: string;
  readonly variant: string;
  /** Read one after the other, each behind what it has in common with the one before. */
  readonly conversations: readonly Conversation[];
}

/** answer: what another device answers, greedily. */
interface Conversation {
  readonly prompt: readonly number[];
  readonly answer: readonly number[];
}

/** What is likeliest in the place of one id of an answer; both logits are raw. */
interface Step {
  readonly id: number;
  readonly logit: number;
  readonly logitOfAnswer: number;
}

/** A Blob whose bytes can be read without waiting, as workers of browsers can. */
class MemoryBlob extends Blob {
  readonly held: Uint8Array<ArrayBuffer>;

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    super([bytes]);
    this.held = bytes;
  }

  override slice(start = 0, end = this.held.length): MemoryBlob {
    return new MemoryBlob(this.held.slice(start, end));
  }
}

class MemoryReader {
  readAsArrayBuffer({ held }: MemoryBlob): ArrayBuffer {
    return held.buffer;
  }
}

/** What a worker of a browser has and Node has not. */
async function beAWorker({ dawn, ort }: Job): Promise<void> {
  const { create, globals } = (await import(pathToFileURL(dawn).href)) as {
    readonly create: (options: readonly string[]) => GPU;
    readonly globals: object;
  };
  Object.assign(globalThis, globals, { FileReaderSync: MemoryReader, self: globalThis });
  define('location', { href: pathToFileURL(join(ort, '..', 'assets', 'worker.js')).href });
  define('navigator', { gpu: create([]), hardwareConcurrency: 1, userAgent: 'Node' });
  copySharedMemory();
}

function define(name: string, value: unknown): void {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}

/** Dawn in Node takes no shared memory, and ONNX Runtime's is shared. */
function copySharedMemory(): void {
  const { prototype } = GPUQueue;
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called with the queue below
  const write = prototype.writeBuffer;
  prototype.writeBuffer = function (buffer, at, data, offset = 0, size?: number) {
    const view = ArrayBuffer.isView(data) ? data : new Uint8Array(data);
    const unit =
      ArrayBuffer.isView(data) && 'BYTES_PER_ELEMENT' in data ? Number(data.BYTES_PER_ELEMENT) : 1;
    const length = size === undefined ? view.byteLength - offset * unit : size * unit;
    const bytes = new Uint8Array(view.buffer, view.byteOffset + offset * unit, length);
    write.call(this, buffer, at, Uint8Array.from(bytes));
  };
}

async function open({ folder, variant: name }: Job): Promise<DecoderSession> {
  const read = (file: string) => readFileSync(join(folder, file));
  const json = (file: string): unknown => JSON.parse(read(file).toString('utf8'));
  const { variants, contextLength } = parseManifest(json('localphi.json'));
  const variant = variants.get(name)!;
  const config = withGraphOf(parseDecoderConfig(json('genai_config.json')), variant);
  const files = new Map(
    variant.files.map((file) => [file.name, new MemoryBlob(Uint8Array.from(read(file.name)))]),
  );
  const limit = variant.contextLength ?? contextLength;
  const session = await openWebGpuSession({ config, contextLength: limit, files });
  if (variant.canary) await checkCanary(session, variant.canary);
  return session;
}

async function follow(session: DecoderSession, { prompt, answer }: Conversation): Promise<Step[]> {
  const known = prompt.findIndex((id, i) => id !== session.ids[i]);
  session.rewind(session.readsFromTheStart ? 0 : Math.max(0, known));
  const sampler = new Sampler({ temperature: 0, topP: 1, topK: 0, ...NO_RULES }, 0);
  const steps: Step[] = [];
  let next = prompt.slice(session.ids.length);
  for (const wanted of answer) {
    const logits = (await session.read(next)).at(-1)!;
    const id = await sampler.choose(logits); // on the GPU
    const row = await logits.all();
    steps.push({ id, logit: Math.max(...row), logitOfAnswer: row[wanted]! });
    if (row[id] !== Math.max(...row)) throw new Error(`the id found, ${id}, is not the likeliest`);
    next = [wanted];
  }
  return steps;
}

const job = JSON.parse(process.argv[2]!) as Job;
await beAWorker(job);
const session = await open(job);
const steps: Step[][] = [];
for (const conversation of job.conversations) steps.push(await follow(session, conversation));
await session.dispose();
console.log(JSON.stringify(steps));
process.exit(0); // Dawn's threads would keep Node alive
