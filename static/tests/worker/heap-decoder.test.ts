/** The demo model on the real ONNX Runtime Web, in Node with one thread. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';

import { parseDecoderConfig } from '../../shared/manifest';
import type { AdapterTensors } from '../../worker/runtime/adapter-file';
import { HeapDecoder } from '../../worker/runtime/heap-decoder';
import type { Logits } from '../../worker/runtime/logits';
import { loraInputs } from '../../worker/runtime/lora';
import type { InferenceSession, OrtModule } from '../../worker/runtime/ort';
import { asOrtWasm } from '../../worker/runtime/ort-heap';
import type { OrtWasm } from '../../worker/runtime/ort-heap';

const DEMO = join(import.meta.dirname, '../../../webapp/localphi/models/bundled/localphi-demo');
const IDS = Array.from({ length: 700 }, (_, i) => 300 + ((i * 37) % 900));

const source = {
  config: parseDecoderConfig(
    JSON.parse(readFileSync(join(DEMO, 'genai_config.json'), 'utf8')) as unknown,
  ),
  contextLength: 2048,
};
const folder = mkdtempSync(join(tmpdir(), 'localphi-'));
let ort: OrtModule;
let wasm: OrtWasm;

beforeAll(async () => {
  const script = createRequire(import.meta.url).resolve('onnxruntime-web/wasm');
  const dist = pathToFileURL(join(script, '../')).href;
  const wrapper = join(folder, 'module.mjs');
  writeFileSync(
    wrapper,
    `import make from '${dist}ort-wasm-simd-threaded.mjs';
     export default async (settings) => (globalThis.testOrtWasm = await make(settings));`,
  );
  ort = (await import(`${dist}ort.wasm.min.mjs`)) as OrtModule;
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = {
    mjs: pathToFileURL(wrapper).href,
    wasm: `${dist}ort-wasm-simd-threaded.wasm`,
  };
  await (await createSession()).release();
  wasm = asOrtWasm((globalThis as { testOrtWasm?: unknown }).testOrtWasm)!;
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

function createSession(graph = 'model.onnx'): Promise<InferenceSession> {
  const data = new Uint8Array(readFileSync(join(DEMO, 'model.onnx.data')));
  return ort.InferenceSession.create(new Uint8Array(readFileSync(join(DEMO, graph))), {
    executionProviders: ['wasm'],
    externalData: [{ path: 'model.onnx.data', data }],
  });
}

async function opened(): Promise<HeapDecoder> {
  return (await HeapDecoder.over(await createSession(), wasm, source))!;
}

async function valuesOf(rows: readonly Logits[]): Promise<Float32Array> {
  return Float32Array.from(await rows.at(-1)!.all());
}

/** The last logits of all ids read at once, by the public way. */
async function expected(ids: readonly number[]): Promise<Float32Array> {
  const session = await createSession();
  const { config } = source;
  const feeds: Record<string, unknown> = {};
  for (const name of session.inputNames.filter((input) => input.includes('past'))) {
    const dims = [1, config.kvHeads, 0, config.headSize];
    feeds[name] = new ort.Tensor('float32', new Float32Array(0), dims);
  }
  const { inputIds, attentionMask, logits } = config.names;
  feeds[inputIds] = new ort.Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]);
  feeds[attentionMask] = new ort.Tensor('int64', new BigInt64Array(ids.length).fill(1n), [
    ...[1, ids.length],
  ]);
  const results = await session.run(feeds as InferenceSession.FeedsType);
  const values = Float32Array.from(results[logits]!.data as Float32Array);
  await session.release();
  return values;
}

function farthest(one: Float32Array, other: Float32Array): number {
  expect(one.length).toBe(other.length);
  return one.reduce((most, value, i) => Math.max(most, Math.abs(value - other[i]!)), 0);
}

describe('keys and values in WebAssembly', { timeout: 60_000 }, () => {
  test('give the logits of the public way, token by token and beyond their first room', async () => {
    const decoder = await opened();
    await decoder.read(IDS.slice(0, 256));
    for (const id of IDS.slice(256, 260)) await decoder.read([id]);
    await decoder.read(IDS.slice(260, 500));
    await decoder.read(IDS.slice(500, 699)); // more than 512 in all
    const rows = await decoder.read(IDS.slice(699));
    expect(decoder.ids).toEqual(IDS);
    expect(farthest(await valuesOf(rows), await expected(IDS))).toBeLessThan(2e-4);
    await decoder.dispose();
  });

  test('can be rewound, and read on as if nothing had been', async () => {
    const decoder = await opened();
    const first = await valuesOf(await decoder.read(IDS.slice(0, 40)));
    await decoder.read(IDS.slice(100, 130));
    decoder.rewind(39);
    const again = await valuesOf(await decoder.read(IDS.slice(39, 40)));
    expect(farthest(again, first)).toBeLessThan(1e-4);
    decoder.rewind(1000);
    expect(decoder.ids).toEqual(IDS.slice(0, 40));
    await decoder.dispose();
  });

  test('give all memory back', async () => {
    const taken = new Map<number, number>();
    const counted = {
      ...wasm,
      get HEAPU8() {
        return wasm.HEAPU8;
      },
      _malloc: (bytes: number) => {
        const address = wasm._malloc(bytes);
        taken.set(address, bytes);
        return address;
      },
      _free: (address: number) => {
        taken.delete(address);
        wasm._free(address);
      },
    };
    const session = await createSession('model-lora-web.onnx');
    const decoder = (await HeapDecoder.over(session, counted, source))!;
    for (const key of ['a', 'b', 'c', 'd', 'e']) {
      await decoder.adapters!.wear({ key, load: () => Promise.resolve(adapterOf(session, 1)) });
    }
    await decoder.read(IDS);
    await decoder.read([5]);
    expect(taken.size).toBeGreaterThan(0);
    await decoder.dispose();
    await decoder.dispose();
    expect([...taken]).toEqual([]);
    await expect(decoder.read([5])).rejects.toMatchObject({ kind: 'device' });
  });

  test('are what they were when there is no memory for more', async () => {
    let left = Infinity;
    const narrow = {
      ...wasm,
      get HEAPU8() {
        return wasm.HEAPU8;
      },
      _malloc: (bytes: number) => (bytes > 100_000 && left-- <= 0 ? 0 : wasm._malloc(bytes)),
    };
    const decoder = (await HeapDecoder.over(await createSession(), narrow, source))!;
    await decoder.read(IDS.slice(0, 500));
    left = 3;
    await expect(decoder.read(IDS.slice(500))).rejects.toMatchObject({
      kind: 'device',
      message: expect.stringContaining('no memory') as string,
    });
    expect(decoder.ids).toHaveLength(500);
    const some = await valuesOf(await decoder.read(IDS.slice(500, 510)));
    expect(farthest(some, await expected(IDS.slice(0, 510)))).toBeLessThan(2e-4);
    left = Infinity;
    const all = await valuesOf(await decoder.read(IDS.slice(510)));
    expect(farthest(all, await expected(IDS))).toBeLessThan(2e-4);
    await decoder.dispose();
  });

  test('tell why a run failed, and go on', async () => {
    const decoder = await opened();
    await decoder.read([5, 6]);
    await expect(decoder.read([1_000_000])).rejects.toMatchObject({
      kind: 'device',
      message: expect.stringContaining('out of data bounds') as string,
    });
    expect(decoder.ids).toEqual([5, 6]);
    const rows = await decoder.read([7]);
    expect(farthest(await valuesOf(rows), await expected([5, 6, 7]))).toBeLessThan(1e-4);
    await decoder.dispose();
  });
});

/** An adapter of rank 2 with random numbers, which changes every site whose name fits. */
function adapterOf(session: InferenceSession, seed: number, sites = /layers/): AdapterTensors {
  const inputs = loraInputs(session).filter(({ name }) => sites.test(name));
  let state = seed;
  const random = () => ((state = (state * 48271) % 2147483647) / 2147483647 - 0.5) / 4;
  return new Map(
    inputs.map(({ name, dims: wanted }) => {
      const dims = wanted.map((dim) => (typeof dim === 'number' ? dim : 2));
      return [name, { dims, values: Float32Array.from({ length: dims[0]! * dims[1]! }, random) }];
    }),
  );
}

describe('adapters in WebAssembly', { timeout: 60_000 }, () => {
  const ids = IDS.slice(0, 40);

  test('change what is computed and leave no trace: base, a, b, base is exact', async () => {
    const plain = await opened();
    expect(plain.adapters).toBeNull();
    const base = await valuesOf(await plain.read(ids));
    await plain.dispose();
    const session = await createSession('model-lora-web.onnx');
    const decoder = (await HeapDecoder.over(session, wasm, source))!;
    const files = { a: adapterOf(session, 1), b: adapterOf(session, 2, /layers\.3.*down/) };
    const loads: string[] = [];
    const answer = async (key: 'a' | 'b' | null) => {
      const load = () => Promise.resolve(files[key ?? 'a']);
      const worn = key && { key, load: () => (loads.push(key), load()) };
      await decoder.adapters!.wear(worn);
      expect(decoder.ids).toEqual([]); // what another one has read does not count
      const values = await valuesOf(await decoder.read(ids));
      await decoder.adapters!.wear(worn);
      expect(decoder.ids).toEqual(ids); // its own does
      return values;
    };
    expect(await answer(null)).toEqual(base);
    const [a, b] = [await answer('a'), await answer('b')];
    expect(farthest(a, base)).toBeGreaterThan(1);
    expect(farthest(b, base)).toBeGreaterThan(0.01);
    expect(await answer(null)).toEqual(base);
    expect(await answer('b')).toEqual(b);
    expect(await answer('a')).toEqual(a);
    expect(loads).toEqual(['a', 'b']);
    await decoder.dispose();
  });

  test('that do not fit are refused, and all is as it was', async () => {
    const session = await createSession('model-lora-web.onnx');
    const decoder = (await HeapDecoder.over(session, wasm, source))!;
    const [name, tensor] = [...adapterOf(session, 1)][0]!;
    const before = await valuesOf(await decoder.read(ids));
    for (const [tensors, message] of [
      [new Map([['model.layers.9.lora_A.weight', tensor]]), 'changes model.layers.9.lora_A.weight'],
      [new Map([[name, { ...tensor, dims: [8, 64] }]]), `${name} is 8 x 64, and not 256 x rank`],
      [new Map([[name, tensor]]), 'lora_B.weight is 1 x 512, and not 2 x 512'],
    ] as const) {
      const worn = { key: 'odd', load: () => Promise.resolve(tensors) };
      await expect(decoder.adapters!.wear(worn)).rejects.toMatchObject({
        kind: 'adapter',
        message: expect.stringContaining(message) as string,
      });
    }
    decoder.rewind(39);
    expect(farthest(await valuesOf(await decoder.read(ids.slice(39))), before)).toBeLessThan(1e-4);
    await decoder.dispose();
  });
});

describe('the public way is taken', () => {
  test('where the module is another one', async () => {
    const session = await createSession();
    expect(await HeapDecoder.over(session, null, source)).toBeNull();
    expect(asOrtWasm({ ...wasm, PTR_SIZE: 8 })).toBeNull();
    expect(asOrtWasm({ ...wasm, _OrtRun: undefined })).toBeNull();
    expect(asOrtWasm(undefined)).toBeNull();
    await session.release();
  });

  test('where the session keeps its number elsewhere', async () => {
    expect(
      await HeapDecoder.over({ handler: {} } as unknown as InferenceSession, wasm, source),
    ).toBeNull();
  });

  test('where a token cannot be read so, and the session is still good', async () => {
    const session = await createSession();
    const broken = { ...wasm, _OrtRun: vi.fn(() => 1) };
    Object.defineProperty(broken, 'HEAPU8', { get: () => wasm.HEAPU8 });
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    expect(await HeapDecoder.over(session, broken, source)).toBeNull();
    expect(warn).toHaveBeenCalledOnce();
    warn.mockRestore();
    expect(broken._OrtRun).toHaveBeenCalledOnce();
    expect(await HeapDecoder.over(session, wasm, source)).not.toBeNull();
    await session.release();
  });
});
