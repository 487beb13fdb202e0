import { expect, test } from 'vitest';

import { needOf, planWasm, planWebGpu } from '../../worker/memory-plan';

const GIB = 2 ** 30;
/** Phi-3-mini in int4 with a cache in float16. */
const PHI3 = { weightsBytes: 2.2e9, kvBytesPerToken: 393_216 };

test('the buffers of the cache must fit what the adapter allows', () => {
  const need = needOf(PHI3, 32, 4096);
  expect(need.cacheBuffer).toBe(393_216 * 64);
  const limits = (bytes: number) => ({ maxBufferSize: GIB, maxStorageBufferBindingSize: bytes });
  expect(planWebGpu(need, limits(128 * 2 ** 20))).toBeNull();
  expect(planWebGpu(need, limits(2 ** 20))).toContain('the adapter allows 1048576');
  expect(planWebGpu(needOf(PHI3, 32, 131_072), limits(128 * 2 ** 20))).not.toBeNull();
});

test('weights must fit 32-bit memory, and the machine as far as it is known', () => {
  const need = needOf(PHI3, 32, 4096);
  expect(planWasm(need, null)).toBeNull();
  expect(planWasm(need, 4)).toBeNull();
  expect(planWasm(need, 2)).toContain('2 GiB');
  expect(planWasm({ ...need, weights: 5e9 }, null)).toContain('WebAssembly');
  expect(planWasm({ ...need, weights: 5e9 }, 8)).toContain('WebAssembly');
});
