import { describe, expect, test } from 'vitest';

import { LocalphiError } from '../../shared/errors';
import type { BrowserDevice, Reason } from '../../shared/protocol';
import { Ladder } from '../../worker/devices';
import type { Probe, Rung } from '../../worker/devices';
import type { DecoderSession } from '../../worker/runtime/session';

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
  const half: Rung = { ...rung('webgpu-f16'), probe: () => Promise.resolve(FINE) };
  const whole: Rung = { ...rung('webgpu-f32'), probe: () => Promise.resolve(FINE) };

  function rung(variant: string): Rung {
    return {
      device: 'webgpu',
      variant,
      probe: () => Promise.resolve({ usable: false, reason: { code: 'no-f16' } }),
      open: () => Promise.reject(new Error('not used here')),
    };
  }

  /** Opens the variants that are there. */
  function climbing(rungs: readonly Rung[], variants: readonly string[]) {
    const opened: string[] = [];
    const ladder = new Ladder(rungs, ({ variant }) => {
      if (!variants.includes(variant)) throw new LocalphiError('variant', `no ${variant}`);
      opened.push(variant);
      return Promise.resolve({} as DecoderSession);
    });
    return { ladder, opened };
  }

  test('the better one is taken, and the other one when it fails', async () => {
    const { ladder, opened } = climbing([half, whole], ['webgpu-f16', 'webgpu-f32']);
    expect((await ladder.climb('webgpu'))?.device).toBe('webgpu');
    expect((await ladder.descend(LOST))?.device).toBe('webgpu');
    expect(opened).toEqual(['webgpu-f16', 'webgpu-f32']);
    expect(ladder.reports).toEqual([{ device: 'webgpu', state: 'active', reason: null }]);
    expect(await ladder.descend(LOST)).toBeNull();
    expect(ladder.reports).toEqual([{ device: 'webgpu', state: 'failed', reason: LOST }]);
  });

  test('a model without numbers of 16 bits is loaded with those of 32', async () => {
    const { ladder } = climbing([half, whole], ['webgpu-f32']);
    expect((await ladder.climb('auto'))?.device).toBe('webgpu');
    expect(ladder.reports).toEqual([{ device: 'webgpu', state: 'active', reason: null }]);
  });

  test('why there is none is told of the one that the model has', async () => {
    const { ladder } = climbing([rung('webgpu-f16'), whole], ['webgpu-f16']);
    expect(await ladder.climb('auto')).toBeNull();
    expect(ladder.reports).toEqual([
      { device: 'webgpu', state: 'failed', reason: { code: 'no-f16' } },
    ]);
  });
});
