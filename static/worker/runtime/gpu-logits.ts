/**
 * The largest logits, found on the GPU: what comes back are some hundred bytes instead of the vocabulary
 * (800 kB a token for Phi-4-mini).
 *
 * One kernel keeps the `count` largest of each segment of 2048; run again on what it kept, until one
 * segment is left. Beside them it sums the weights of each segment, relative to the segment's largest.
 */
import { widened } from './float16';
import type { Head, Logits } from './logits';
import { HEAD_IDS } from './logits';

const THREADS = 256;
const SEGMENT = 2048;
/** Index of what is no id: places that a short segment leaves over. */
const NOTHING = 0xffffffff;

/**
 * Values are compared as integers that sort like the floats, with NaN above everything: shaders may
 * assume that there is no NaN, and then comparisons with one mean nothing.
 */
const SHADER = /* wgsl */ `
struct Job { size: u32, start: u32, count: u32, first: u32, temperature: f32, half: u32 }
@group(0) @binding(0) var<uniform> job: Job;
@group(0) @binding(1) var<storage, read> values: array<u32>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> keptValues: array<u32>;
@group(0) @binding(4) var<storage, read_write> keptIds: array<u32>;
@group(0) @binding(5) var<storage, read_write> sums: array<vec2f>;

var<workgroup> keys: array<u32, ${SEGMENT}>;
var<workgroup> bestKey: array<u32, ${THREADS}>;
var<workgroup> bestAt: array<u32, ${THREADS}>;
var<workgroup> weights: array<f32, ${THREADS}>;

fn keyOf(bits: u32) -> u32 {
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return 0xffffffffu; }
  if (bits == 0x80000000u) { return 0x80000000u; } // -0 is 0
  return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

fn bitsOf(key: u32) -> u32 {
  if (key == 0xffffffffu) { return 0x7fc00000u; }
  return select(~key, key & 0x7fffffffu, (key >> 31u) == 1u);
}

/** The bits of a float32 that is the same number as this float16. */
fn widened(bits: u32) -> u32 {
  let sign = (bits & 0x8000u) << 16u;
  let exponent = (bits >> 10u) & 31u;
  let fraction = bits & 0x3ffu;
  if (exponent == 31u) { return sign | 0x7f800000u | (fraction << 13u); }
  if (exponent == 0u) { return sign | bitcast<u32>(f32(fraction) * 0x1p-24f); }
  return sign | ((exponent + 112u) << 23u) | (fraction << 13u);
}

fn valueAt(index: u32) -> u32 {
  if (job.half == 0u) { return values[index]; }
  return widened((values[index / 2u] >> (16u * (index % 2u))) & 0xffffu);
}

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let offset = group.x * ${SEGMENT}u;
  let size = min(${SEGMENT}u, job.size - offset);
  for (var i = thread; i < size; i += ${THREADS}u) { keys[i] = keyOf(valueAt(job.start + offset + i)); }

  var peak = 0.0;
  for (var round = 0u; round < job.count; round++) {
    var key = 0u;
    var at = ${NOTHING}u;
    for (var i = thread; i < size; i += ${THREADS}u) {
      if (keys[i] > key) { key = keys[i]; at = i; }
    }
    bestKey[thread] = key;
    bestAt[thread] = at;
    workgroupBarrier();
    for (var half = ${THREADS / 2}u; half > 0u; half /= 2u) {
      if (thread < half) {
        let other = bestKey[thread + half];
        let otherAt = bestAt[thread + half];
        if (other > bestKey[thread] || (other == bestKey[thread] && otherAt < bestAt[thread])) {
          bestKey[thread] = other;
          bestAt[thread] = otherAt;
        }
      }
      workgroupBarrier();
    }
    let winner = bestAt[0];
    let winnerKey = bestKey[0];
    workgroupBarrier();
    if (round == 0u && job.first == 1u) {
      peak = bitcast<f32>(bitsOf(winnerKey));
      var sum = 0.0;
      for (var i = thread; i < size; i += ${THREADS}u) {
        sum += exp((bitcast<f32>(bitsOf(keys[i])) - peak) / job.temperature);
      }
      weights[thread] = sum;
      workgroupBarrier();
      for (var half = ${THREADS / 2}u; half > 0u; half /= 2u) {
        if (thread < half) { weights[thread] += weights[thread + half]; }
        workgroupBarrier();
      }
    }
    if (thread == 0u) {
      let place = group.x * job.count + round;
      keptValues[place] = select(0xff800000u, bitsOf(winnerKey), winner != ${NOTHING}u);
      keptIds[place] = ${NOTHING}u;
      if (winner != ${NOTHING}u) {
        if (job.first == 1u) { keptIds[place] = offset + winner; } else { keptIds[place] = ids[offset + winner]; }
        keys[winner] = 0u;
      }
      if (round == 0u && job.first == 1u) { sums[group.x] = vec2f(peak, weights[0]); }
    }
    workgroupBarrier();
  }
}
`;

/** Bytes of the shader's `Job`, padded as uniforms are. */
const JOB_BYTES = 32;

/** One run of the kernel. start: number of the first value in its buffer; first: whether ids are places. */
interface Job {
  readonly size: number;
  readonly start: number;
  readonly count: number;
  readonly first: boolean;
  readonly temperature: number;
  /** Whether the values are float16. */
  readonly half: boolean;
}

/** The logits from number `start` of a buffer on. */
interface Row {
  readonly buffer: GPUBuffer;
  readonly start: number;
  readonly size: number;
}

/** What the kernel leaves for one head, and where it is read back to. One of each for a device. */
interface Buffers {
  /** Kept values and ids, of one run and of the next. */
  readonly values: readonly [GPUBuffer, GPUBuffer];
  readonly ids: readonly [GPUBuffer, GPUBuffer];
  readonly sums: GPUBuffer;
  readonly readback: GPUBuffer;
}

/** Finds heads of logits of one size on one device. Its buffers die with the device. */
export class HeadFinder {
  readonly #gpu: GPUDevice;
  readonly #pipeline: GPUComputePipeline;
  readonly #groups: number;
  readonly #half: boolean;
  readonly #buffers: Buffers;
  /** One for each run over the segments of a head. */
  readonly #jobs: GPUBuffer[] = [];
  /** For the rare download of a whole row. */
  #whole: GPUBuffer | null = null;

  /** size: of the vocabulary (V). half: the logits are float16, else float32. */
  constructor(gpu: GPUDevice, size: number, half = false) {
    this.#gpu = gpu;
    this.#half = half;
    this.#groups = Math.ceil(size / SEGMENT);
    this.#pipeline = gpu.createComputePipeline({
      layout: 'auto',
      compute: { module: gpu.createShaderModule({ code: SHADER }), entryPoint: 'main' },
    });
    const storage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC;
    const kept = () => gpu.createBuffer({ size: this.#groups * HEAD_IDS * 4, usage: storage });
    this.#buffers = {
      values: [kept(), kept()],
      ids: [kept(), kept()],
      sums: gpu.createBuffer({ size: this.#groups * 8, usage: storage }),
      readback: gpu.createBuffer({
        size: HEAD_IDS * 8 + this.#groups * 8,
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      }),
    };
  }

  /** See `Logits.head`. One call at a time. */
  async find(row: Row, count: number, temperature: number): Promise<Head> {
    const encoder = this.#gpu.createCommandEncoder();
    const last = this.#encodeRuns(encoder, row, count, temperature);
    const { values, ids, sums, readback } = this.#buffers;
    encoder.copyBufferToBuffer(values[last], 0, readback, 0, count * 4);
    encoder.copyBufferToBuffer(ids[last], 0, readback, count * 4, count * 4);
    encoder.copyBufferToBuffer(sums, 0, readback, count * 8, this.#groups * 8);
    this.#gpu.queue.submit([encoder.finish()]);
    return headOf(await readBack(readback, count * 8 + this.#groups * 8), count, temperature);
  }

  /** The whole row. One call at a time. */
  async download({ buffer, start, size }: Row): Promise<Float32Array> {
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    const width = this.#half ? 2 : 4;
    const before = (start * width) % 4; // copies begin and end at whole words
    const bytes = Math.ceil((before + size * width) / 4) * 4;
    this.#whole ??= this.#gpu.createBuffer({ size: (size + 1) * 4, usage });
    const encoder = this.#gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, start * width - before, this.#whole, 0, bytes);
    this.#gpu.queue.submit([encoder.finish()]);
    const copy = await readBack(this.#whole, bytes);
    return this.#half ? widened(new Uint16Array(copy, before, size)) : new Float32Array(copy);
  }

  /** Encodes the runs that leave one segment; which of the two kept buffers has it. */
  #encodeRuns(encoder: GPUCommandEncoder, row: Row, count: number, temperature: number): 0 | 1 {
    const { values, ids } = this.#buffers;
    let size = row.size;
    let into: 0 | 1 = 0;
    const first = { ...row, count, first: true, temperature, half: this.#half };
    this.#encodeRun(encoder, 0, first, row.buffer, ids[1], into);
    for (let run = 1; size > SEGMENT; run++) {
      size = Math.ceil(size / SEGMENT) * count;
      const from: 0 | 1 = into;
      into = from === 0 ? 1 : 0;
      const job = { size, start: 0, count, first: false, temperature, half: false };
      this.#encodeRun(encoder, run, job, values[from], ids[from], into);
    }
    return into;
  }

  #encodeRun(
    encoder: GPUCommandEncoder,
    run: number,
    job: Job,
    fromValues: GPUBuffer,
    fromIds: GPUBuffer,
    into: 0 | 1,
  ): void {
    const { values, ids, sums } = this.#buffers;
    const bound = [this.#uniform(run, job), fromValues, fromIds, values[into], ids[into], sums];
    const entries = bound.map((buffer, binding) => ({ binding, resource: { buffer } }));
    const layout = this.#pipeline.getBindGroupLayout(0);
    const pass = encoder.beginComputePass();
    pass.setPipeline(this.#pipeline);
    pass.setBindGroup(0, this.#gpu.createBindGroup({ layout, entries }));
    pass.dispatchWorkgroups(Math.ceil(job.size / SEGMENT));
    pass.end();
  }

  #uniform(run: number, { size, start, count, first, temperature, half }: Job): GPUBuffer {
    const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
    const uniform = (this.#jobs[run] ??= this.#gpu.createBuffer({ size: JOB_BYTES, usage }));
    const bytes = new ArrayBuffer(JOB_BYTES);
    new Uint32Array(bytes).set([size, start, count, first ? 1 : 0]);
    new Float32Array(bytes)[4] = temperature;
    new Uint32Array(bytes)[5] = half ? 1 : 0;
    this.#gpu.queue.writeBuffer(uniform, 0, bytes);
    return uniform;
  }
}

async function readBack(buffer: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
  await buffer.mapAsync(GPUMapMode.READ, 0, bytes);
  const copy = buffer.getMappedRange(0, bytes).slice(0);
  buffer.unmap();
  return copy;
}

/** found: values, ids, and (largest, sum of weights) of each segment. */
function headOf(found: ArrayBuffer, count: number, temperature: number): Head {
  const values = new Float32Array(found, 0, count);
  const peak = values[0]!;
  if (!Number.isFinite(peak))
    throw new RangeError(`no token can be chosen: the best logit is ${peak}`);
  const sums = new Float32Array(found, count * 8);
  let total = 0;
  for (let i = 0; i < sums.length; i += 2) {
    const weight = Math.exp((sums[i]! - peak) / temperature);
    if (weight > 0) total += weight * sums[i + 1]!; // a segment that is barred altogether sums to NaN
  }
  const ids = [...new Uint32Array(found, count * 4, count)];
  const size = ids.includes(NOTHING) ? ids.indexOf(NOTHING) : count;
  return { ids: ids.slice(0, size), logits: [...values.subarray(0, size)], total };
}

/** The logits of one position of a (1, T, V) buffer on a GPU. */
export class GpuLogits implements Logits {
  readonly #finder: HeadFinder;
  readonly #row: Row;

  constructor(finder: HeadFinder, buffer: GPUBuffer, position: number, size: number) {
    this.#finder = finder;
    this.#row = { buffer, start: position * size, size };
  }

  get size(): number {
    return this.#row.size;
  }

  all(): Promise<Float32Array> {
    return this.#finder.download(this.#row);
  }

  head(count: number, temperature: number): Promise<Head> {
    return this.#finder.find(this.#row, Math.min(count, HEAD_IDS), temperature);
  }
}
