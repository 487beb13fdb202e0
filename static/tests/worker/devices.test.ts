import { describe, expect, test } from 'vitest';

import { LocalphiError } from '../../shared/errors';
import type { BrowserDevice, Reason } from '../../shared/protocol';
import { Ladder } from '../../worker/devices';
import type { Probe, Rung } from '../../worker/devices';
import type { DecoderSession } from '../../worker/runtime/decoder';

const FINE: Probe = { usable: true, reason: null };
const SOFTWARE: Probe = { usable: true, reason: { code: 'software-adapter' } };
const MISSING: Probe = { usable: false, reason: { code: 'no-webgpu' } };
const LOST: Reason = { code: 'failed', detail: 'lost' };

/** A ladder of two rungs; `failures` are what opening a rung throws. */
function ladder(webgpu: Probe, failures: Partial<Record<BrowserDevice, Error>> = {}) {
  const opened: BrowserDevice[] = [];
  const rungs = (['webgpu', 'wasm'] as const).map((device): Rung => ({
    device,
    variant: device,
    probe: () => Promise.resolve(device === 'webgpu' ? webgpu : FINE),
    plan: () => Promise.resolve(null),
    open: () => Promise.reject(new Error('not used here')),
  }));
  const open = ({ device }: Rung) => {
    opened.push(device);
    const failure = failures[device];
    return failure ? Promise.reject(failure) : Promise.resolve({} as DecoderSession);
  };
  return { it: new Ladder(rungs, open), opened };
}

function states(it: Ladder): Record<string, string> {
  return Object.fromEntries(it.reports.map(({ device, state }) => [device, state]));
}

test('the best device that works is taken', async () => {
  const { it } = ladder(FINE);
  expect((await it.climb('auto'))?.device).toBe('webgpu');
  expect(states(it)).toEqual({ webgpu: 'active', wasm: 'untried' });
});

test('a software adapter is passed over by itself, and taken when asked for', async () => {
  const { it } = ladder(SOFTWARE);
  expect((await it.climb('auto'))?.device).toBe('wasm');
  expect(states(it)).toEqual({ webgpu: 'skipped', wasm: 'active' });
  expect((await it.climb('webgpu'))?.device).toBe('webgpu');
});

test('a device that is not there is not opened', async () => {
  const { it, opened } = ladder(MISSING);
  expect((await it.climb('webgpu'))?.device).toBe('wasm');
  expect(opened).toEqual(['wasm']);
  expect(it.reports[0]).toEqual({
    device: 'webgpu',
    state: 'failed',
    reason: { code: 'no-webgpu' },
  });
});

test('the chosen device is taken even where a better one works', async () => {
  expect((await ladder(FINE).it.climb('wasm'))?.device).toBe('wasm');
});

describe('why a device is not used is remembered', () => {
  test.each([
    ['canary', 'wrong-answers'],
    ['timeout', 'too-slow'],
    ['variant', 'no-variant'],
    ['device', 'failed'],
  ] as const)('%s means %s', async (kind, code) => {
    const { it } = ladder(FINE, { webgpu: new LocalphiError(kind, 'why') });
    expect((await it.climb('auto'))?.device).toBe('wasm');
    expect(it.reports[0]?.reason).toEqual({ code, detail: 'why' });
  });
});

test('no device at all gives null', async () => {
  const { it } = ladder(MISSING, { wasm: new Error('no memory') });
  expect(await it.climb('auto')).toBeNull();
});

test('damaged files end the climb, because every device would meet them', async () => {
  const { it, opened } = ladder(FINE, { webgpu: new LocalphiError('damaged', 'model.onnx') });
  await expect(it.climb('auto')).rejects.toThrow('model.onnx');
  expect(opened).toEqual(['webgpu']);
});

test('a device that fails later is left for the next', async () => {
  const { it } = ladder(FINE);
  await it.climb('auto');
  expect((await it.descend(LOST))?.device).toBe('wasm');
  expect(states(it)).toEqual({ webgpu: 'failed', wasm: 'active' });
  expect(await it.descend(LOST)).toBeNull();
});

describe('two rungs of one device', () => {
  /** WebGPU with float16, with float32, then WASM; those in `failing` cannot be opened. */
  function threeRungs(failing: readonly string[], half: Probe = FINE, all?: 'variant') {
    const opened: string[] = [];
    const rung = (device: BrowserDevice, variant: string, probe = FINE): Rung => ({
      ...{ device, variant },
      probe: () => Promise.resolve(probe),
      plan: () => Promise.resolve(null),
      open: () => Promise.reject(new Error('not used here')),
    });
    const rungs = [rung('webgpu', 'f16', half), rung('webgpu', 'f32'), rung('wasm', 'wasm')];
    const open = ({ variant }: Rung) => {
      opened.push(variant);
      if (all) return Promise.reject(new LocalphiError(all, `no ${variant}`));
      if (failing.includes(variant)) return Promise.reject(new Error(`no ${variant}`));
      return Promise.resolve({} as DecoderSession);
    };
    return { it: new Ladder(rungs, open), opened };
  }

  test('are tried in order, and told as one', async () => {
    const { it, opened } = threeRungs(['f16']);
    expect((await it.climb('auto'))?.device).toBe('webgpu');
    expect(opened).toEqual(['f16', 'f32']);
    expect(states(it)).toEqual({ webgpu: 'active', wasm: 'untried' });
  });

  test('a loss moves from one to the other, then below', async () => {
    const { it, opened } = threeRungs([]);
    await it.climb('webgpu');
    expect((await it.descend(LOST))?.device).toBe('webgpu');
    expect(states(it)).toEqual({ webgpu: 'active', wasm: 'untried' });
    expect((await it.descend(LOST))?.device).toBe('wasm');
    expect(opened).toEqual(['f16', 'f32', 'wasm']);
    expect(it.reports[0]).toEqual({ device: 'webgpu', state: 'failed', reason: LOST });
  });

  test('why there is none is told of the one that the model has', async () => {
    const { it } = threeRungs([], { usable: false, reason: { code: 'no-f16' } }, 'variant');
    expect(await it.climb('auto')).toBeNull();
    expect(it.reports[0]?.reason).toEqual({ code: 'no-f16' });
  });

  test('without 16-bit numbers the other one is there', async () => {
    const { it, opened } = threeRungs([], { usable: false, reason: { code: 'no-f16' } });
    await it.climb('auto');
    expect(opened).toEqual(['f32']);
  });
});

test('a model without room is named', async () => {
  const { it } = ladder(FINE, { webgpu: new LocalphiError('memory', 'too large') });
  await it.climb('auto');
  expect(it.reports[0]?.reason).toEqual({ code: 'too-large', detail: 'too large' });
});
