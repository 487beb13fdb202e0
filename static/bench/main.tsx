/** /bench: measures the model in this browser. `window.localphiBench` is the same for programs. */
import { signal } from '@preact/signals';
import { render } from 'preact';

import { LocalBackend } from '../page/local-backend';
import { fetchModelIds } from '../page/remote-backend';
import { ServerKey } from '../page/server-key';
import { startWorker } from '../page/start-worker';
import { messageOf } from '../shared/errors';
import { earlierRuns, keepRun } from './history';
import type { Plan } from './plan';
import { report, toMarkdown } from './report';
import type { Machine, Report } from './report';
import { run } from './run';
import { askServer } from './server';
import { strings } from './strings';
import type { PeerFactory } from './subject';
import { Bench } from './view';
import type { State } from './view';

/** For `localphi bench --browser`. */
interface BenchHook {
  /** Begins a run; `state` tells how it goes. */
  start(plan: Plan): void;
  state(): State;
  /** Of the last run that ended well since the page was opened. */
  result(): { readonly report: Report; readonly markdown: string } | null;
}

declare global {
  interface Window {
    localphiBench?: BenchHook;
    localphiBenchPeers?: Readonly<Record<string, PeerFactory>>;
  }
}

const state = signal<State>({ phase: 'idle' });
const runs = signal(earlierRuns());
const peers = () => window.localphiBenchPeers ?? {};
let last: Report | null = null;

function start(plan: Plan): void {
  if (state.value.phase === 'running') return;
  state.value = { phase: 'running', what: 'cold', share: 0 };
  measure(plan).then(
    (made) => {
      last = made;
      runs.value = keepRun(made);
      state.value = { phase: 'idle' };
    },
    (error: unknown) => {
      state.value = { phase: 'failed', message: messageOf(error) };
    },
  );
}

async function measure(plan: Plan): Promise<Report> {
  const serverKey = new ServerKey().value.peek();
  const fetchUrl = withKey(serverKey);
  const modelId =
    new URLSearchParams(location.search).get('model') ?? (await fetchModelIds(fetchUrl))[0];
  if (modelId === undefined) throw new Error(strings.noModel);
  const parts = {
    backend: () => new LocalBackend(startWorker(serverKey), () => {}),
    peers,
    server: askServer.bind(null, fetchUrl, modelId),
  };
  const measured = await run(modelId, plan, parts, (what, share) => {
    state.value = { phase: 'running', what, share };
  });
  return report(measured, await thisMachine(), new Date().toISOString());
}

async function thisMachine(): Promise<Machine> {
  const gpu = 'gpu' in navigator ? await navigator.gpu.requestAdapter() : null;
  const { vendor = '', architecture = '' } = gpu?.info ?? {};
  const adapter = gpu ? `${vendor} ${architecture}`.trim() || 'GPU' : null;
  const browser = /(Firefox|Edg|Chrome|Version)\/[\d.]+/.exec(navigator.userAgent)?.[0];
  return { browser: browser ?? 'browser', cores: navigator.hardwareConcurrency, adapter };
}

function withKey(key: string | null): typeof fetch {
  return (input, init) => {
    const headers = new Headers(init?.headers);
    if (key !== null) headers.set('Authorization', `Bearer ${key}`);
    return fetch(input, { ...init, headers });
  };
}

window.localphiBench = {
  start,
  state: () => state.value,
  result: () => last && { report: last, markdown: toMarkdown(last) },
};
const root = document.getElementById('bench');
if (root) render(<Bench {...{ state, runs, start }} peers={Object.keys(peers())} />, root);
