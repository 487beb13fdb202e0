import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import type { Backend } from '../../page/backend';
import { Engine } from '../../page/engine';
import type { BrowserBackend, EngineParts } from '../../page/engine';
import type { LoadHandlers, Loaded, Step } from '../../page/local-backend';
import { LocalphiError } from '../../shared/errors';
import type { CheckReport, RungReport } from '../../shared/protocol';

const ON_WASM: Loaded = {
  device: 'wasm',
  model: { id: 'tiny', name: 'Tiny', contextLength: 8, longestContext: 8, tokenBytes: 4 },
  rungs: [
    { device: 'webgpu', state: 'failed', reason: { code: 'no-webgpu' } },
    { device: 'wasm', state: 'active', reason: null },
  ],
  notes: [],
};
const NOWHERE: Loaded = { ...ON_WASM, device: null };
const AWAY = new LocalphiError('network', 'away');

const server: Backend = { chat: () => Promise.reject(AWAY) };

/** Parts of which the browser loads as told and the server is there or not. */
function parts(load: BrowserBackend['load'], change: Partial<EngineParts> = {}) {
  const browser = {
    closed: 0,
    held: [] as boolean[],
    report: { checkedBytes: 0, repaired: [] } as CheckReport,
    load,
    hold: (paused: boolean) => {
      browser.held.push(paused);
    },
    kept: () => Promise.reject(AWAY),
    remove: () => Promise.reject(AWAY),
    check: () => Promise.resolve(browser.report),
    chat: () => Promise.reject(AWAY),
    close: () => {
      browser.closed += 1;
    },
  };
  const all: EngineParts = {
    browser: () => browser,
    server: () => server,
    modelIds: () => Promise.resolve(['tiny']),
    rememberedModelId: () => null,
    rememberModelId: () => {},
    persist: () => Promise.resolve(),
    ...change,
  };
  return { browser, all };
}

function stateOf(engine: Engine, device: string): RungReport | undefined {
  return engine.rungs.value.find((rung) => rung.device === device);
}

test('the browser answers where one of its devices works', async () => {
  const { all, browser } = parts(() => Promise.resolve(ON_WASM));
  const engine = new Engine(all, null);
  engine.start('auto');
  expect(await engine.ready()).toBe(browser);
  expect(engine.state.value).toMatchObject({ phase: 'ready', device: 'wasm', detour: null });
  expect(stateOf(engine, 'server')?.state).toBe('untried');
});

test('a model reads as much as is wished for when it is loaded', async () => {
  const asked: unknown[] = [];
  let wished: number | null = 4;
  const { all } = parts((id, _, __, { contextLength }) => {
    asked.push([id, contextLength]);
    return Promise.resolve(ON_WASM);
  });
  const engine = new Engine({ ...all, contextLength: () => wished }, null);
  engine.start('auto');
  await engine.ready();
  wished = null;
  expect(engine.wantedContext.value).toBe(4);
  engine.start('auto');
  await engine.ready();
  expect(asked).toEqual([
    ['tiny', 4],
    ['tiny', null],
  ]);
  expect(engine.wantedContext.value).toBeNull();
});

test('a chosen device that does not work is explained', async () => {
  const engine = new Engine(parts(() => Promise.resolve(ON_WASM)).all, null);
  engine.start('webgpu');
  await engine.ready();
  expect(engine.state.value).toMatchObject({ device: 'wasm', detour: { code: 'no-webgpu' } });
});

test('the server answers where the browser cannot', async () => {
  const engine = new Engine(parts(() => Promise.resolve(NOWHERE)).all, null);
  engine.start('auto');
  expect(await engine.ready()).toBe(server);
  expect(engine.state.value).toMatchObject({ device: 'server', detour: { code: 'failed' } });
});

test('the server answers where there are no workers', async () => {
  const { all } = parts(() => Promise.resolve(ON_WASM), {
    browser: () => {
      throw new ReferenceError('Worker is not defined');
    },
  });
  const engine = new Engine(all, null);
  engine.start('auto');
  expect(await engine.ready()).toBe(server);
  expect(stateOf(engine, 'wasm')).toMatchObject({ state: 'failed', reason: { code: 'no-worker' } });
});

test('a damaged file is named even though the server answers', async () => {
  const damage = new LocalphiError('damaged', 'model.onnx is damaged');
  const engine = new Engine(parts(() => Promise.reject(damage)).all, null);
  engine.start('auto');
  await engine.ready();
  expect(engine.state.value).toMatchObject({ detour: { detail: 'model.onnx is damaged' } });
});

test('when nothing can answer, the reason is the browser’s', async () => {
  const damage = new LocalphiError('damaged', 'model.onnx is damaged');
  const { all } = parts(() => Promise.reject(damage), { modelIds: () => Promise.reject(AWAY) });
  const engine = new Engine(all, 'tiny');
  engine.start('auto');
  await expect(engine.ready()).rejects.toMatchObject({ kind: 'damaged' });
  expect(engine.state.value.phase).toBe('failed');
  expect(stateOf(engine, 'server')?.state).toBe('failed');
});

test('the model of an earlier visit serves while the server is away', async () => {
  const { all, browser } = parts(() => Promise.resolve(ON_WASM), {
    modelIds: () => Promise.reject(AWAY),
    rememberedModelId: () => 'tiny',
  });
  const engine = new Engine(all, null);
  engine.start('auto');
  expect(await engine.ready()).toBe(browser);
});

test('a later start takes over from an earlier one', async () => {
  const { all, browser } = parts(() => new Promise(() => {}));
  const engine = new Engine(all, null);
  engine.start('auto');
  await new Promise((resolve) => setTimeout(resolve));
  engine.start('server');
  expect(await engine.ready()).toBe(server);
  expect(browser.closed).toBe(1);
});

test('after the last device of the browser failed, the server takes over', async () => {
  const { all, browser } = parts(() => Promise.resolve(ON_WASM));
  const engine = new Engine(all, null);
  engine.start('auto');
  const lost = await engine.ready();
  expect(await engine.replace(lost, new LocalphiError('device', 'lost'))).toBe('server');
  expect(await engine.ready()).toBe(server);
  expect(browser.closed).toBe(1);
});

test('errors that are not the device’s do not move anything', async () => {
  const engine = new Engine(parts(() => Promise.resolve(ON_WASM)).all, null);
  engine.start('auto');
  const lost = await engine.ready();
  expect(await engine.replace(lost, new LocalphiError('context', 'too long'))).toBeNull();
  expect(await engine.ready()).toBe(lost);
});

describe('a worker that dies', () => {
  const DIED = new LocalphiError('worker', 'the worker has ended');
  const ON_WEBGPU: Loaded = {
    ...ON_WASM,
    device: 'webgpu',
    rungs: [
      { device: 'webgpu', state: 'active', reason: null },
      { device: 'wasm', state: 'untried', reason: null },
    ],
  };

  /** An engine whose workers load as they are told, one after the other. */
  function dying(...loads: (Loaded | LocalphiError)[]) {
    const steps: Step[] = [];
    const made: BrowserBackend[] = [];
    const { all } = parts(() => Promise.reject(AWAY));
    const engine = new Engine(
      {
        ...all,
        browser: () => {
          const next = loads.shift() ?? DIED;
          const load: BrowserBackend['load'] = (_id, step, handlers) => {
            steps.push(step);
            if (!(next instanceof LocalphiError)) return Promise.resolve(next);
            handlers.onTrying(step.choice === 'auto' ? 'webgpu' : step.choice);
            return Promise.reject(next);
          };
          const { browser } = parts(load);
          made.push(browser);
          return browser;
        },
      },
      null,
    );
    engine.start('auto');
    const lose = async (error = DIED) => engine.replace(await engine.ready(), error);
    const choices = () => steps.map(({ choice, oneThread }) => (oneThread ? 'one' : choice));
    return { engine, lose, choices, made };
  }

  beforeEach(() => {
    vi.stubGlobal('crossOriginIsolated', true);
  });

  afterEach(() => {
    vi.unstubAllGlobals();
  });

  test('is replaced on the same device', async () => {
    const { engine, lose, choices, made } = dying(ON_WEBGPU, ON_WEBGPU);
    expect(await lose()).toBe('webgpu');
    expect(choices()).toEqual(['auto', 'webgpu']);
    expect(await engine.ready()).toBe(made[1]);
  });

  test('again makes room for the device below, and the reason is told', async () => {
    const { engine, lose, choices } = dying(ON_WEBGPU, ON_WEBGPU, ON_WASM);
    await lose();
    expect(await lose()).toBe('wasm');
    expect(choices()).toEqual(['auto', 'webgpu', 'wasm']);
    const detail = 'the worker has ended';
    expect(stateOf(engine, 'webgpu')?.reason).toEqual({ code: 'failed', detail });
  });

  test('on WASM is followed by one with a single thread, then by the server', async () => {
    const { lose, choices } = dying(ON_WASM, ON_WASM, ON_WASM);
    await lose();
    expect(await lose()).toBe('wasm');
    expect(choices()).toEqual(['auto', 'wasm', 'one']);
    expect(await lose()).toBe('server');
  });

  test('while it loads leaves the devices below', async () => {
    const { engine, choices } = dying(DIED, ON_WASM);
    await engine.ready();
    expect(choices()).toEqual(['auto', 'wasm']);
    expect(engine.state.value).toMatchObject({ phase: 'ready', device: 'wasm' });
    expect(stateOf(engine, 'webgpu')?.state).toBe('failed');
  });

  test('is replaced once for two answers', async () => {
    const { engine, choices } = dying(ON_WASM, ON_WASM);
    const lost = await engine.ready();
    const both = [engine.replace(lost, DIED), engine.replace(lost, DIED)];
    expect(await Promise.all(both)).toEqual(['wasm', 'wasm']);
    expect(choices()).toEqual(['auto', 'wasm']);
  });
});

describe('a server that goes in the middle of an answer', () => {
  /** An engine that was told to use the server, which has gone since. */
  async function orphaned(kept: boolean) {
    let there = true;
    const { all, browser } = parts(() => Promise.resolve(ON_WASM), {
      modelIds: () => (there ? Promise.resolve(['tiny']) : Promise.reject(AWAY)),
    });
    const models = kept ? [{ id: 'tiny', name: 'Tiny', keptBytes: 5 }] : [];
    Object.assign(browser, { kept: () => Promise.resolve({ models }) });
    const engine = new Engine(all, null);
    engine.start('server');
    const lost = await engine.ready();
    there = false;
    return { engine, lost };
  }

  test('is replaced by a device of this browser where the model is kept', async () => {
    const { engine, lost } = await orphaned(true);
    expect(await engine.replace(lost, AWAY)).toBe('wasm');
    expect(engine.state.value).toMatchObject({ phase: 'ready', device: 'wasm' });
    expect(stateOf(engine, 'server')?.state).toBe('failed');
  });

  test('stays the one to ask where the model is not', async () => {
    const { engine, lost } = await orphaned(false);
    expect(await engine.replace(lost, AWAY)).toBeNull();
    expect(await engine.ready()).toBe(lost);
    expect(engine.state.value).toMatchObject({ phase: 'ready', device: 'server' });
  });
});

test('a model the server does not have is refused with those it has, and not remembered', async () => {
  const remembered: string[] = [];
  const { all } = parts(() => Promise.resolve(ON_WASM), {
    rememberModelId: (id) => remembered.push(id),
  });
  const engine = new Engine(all, 'nope');
  engine.start('auto');
  await expect(engine.ready()).rejects.toThrow("no model 'nope'; the server has: tiny");
  expect(remembered).toEqual([]);
});

describe('a download', () => {
  /** Loads as the test says, and tells what it was asked. */
  function loading(work: (handlers: LoadHandlers, signal: AbortSignal) => Promise<Loaded>) {
    const persist = vi.fn(() => Promise.resolve());
    const made = parts((_id, _choice, handlers, { signal }) => work(handlers, signal), { persist });
    const engine = new Engine(made.all, null);
    engine.start('auto');
    return { engine, persist, browser: made.browser };
  }

  const untilStopped = (signal: AbortSignal) =>
    new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => {
        reject(new LocalphiError('stopped', 'enough'));
      });
    });

  test('that is stopped leaves the answer to the server, with the reason', async () => {
    const { engine } = loading((_, signal) => untilStopped(signal));
    await new Promise((resolve) => setTimeout(resolve));
    engine.stop();
    expect(await engine.ready()).toBe(server);
    expect(engine.state.value).toMatchObject({ device: 'server', detour: { code: 'stopped' } });
  });

  test('is held and let go', async () => {
    const { engine, browser } = loading((_, signal) => untilStopped(signal));
    await new Promise((resolve) => setTimeout(resolve));
    engine.hold(true);
    engine.hold(false);
    expect(browser.held).toEqual([true, false]);
  });

  test('that is large is kept, if the browser lets us, before it begins', async () => {
    const { engine, persist } = loading(async (handlers) => {
      await handlers.onPlan(1e9);
      return ON_WASM;
    });
    await engine.ready();
    expect(persist).toHaveBeenCalledOnce();
  });

  test('without room waits for an answer, and goes on with it', async () => {
    const { engine } = loading(async (handlers) => {
      await handlers.onSpace(2e9, 1e9);
      return ON_WASM;
    });
    await new Promise((resolve) => setTimeout(resolve));
    expect(engine.state.value).toMatchObject({
      phase: 'loading',
      question: { needsBytes: 2e9, freeBytes: 1e9 },
    });
    engine.goOn();
    await engine.ready();
    expect(engine.state.value).toMatchObject({ device: 'wasm' });
  });
});

describe('once the model is loaded', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  test.each([
    [['model.onnx.data'], ['repaired']],
    [[], []],
  ])('files that are not as they should be (%j) are told', async (repaired, notes) => {
    const { all, browser } = parts(() => Promise.resolve(ON_WASM));
    browser.report = { checkedBytes: 1, repaired };
    const engine = new Engine(all, null);
    engine.start('auto');
    await engine.ready();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(engine.state.value).toMatchObject({ phase: 'ready', notes });
  });
});
