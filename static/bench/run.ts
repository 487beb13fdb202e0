/** Measures a model: loading, answers behind prompts of several lengths, a second turn, the server's ids. */
import type { LocalBackend, Loaded } from '../page/local-backend';
import type { Message } from '../shared/protocol';
import { fitting } from './plan';
import type { Plan } from './plan';
import { Prompts } from './prompts';
import type { Measured, SecondTurn } from './report';
import type { ServerAnswer } from './server';
import { equalTokens } from './server';
import { OwnSubject } from './subject';
import type { PeerFactory, Question, Subject, Timed } from './subject';

export interface RunParts {
  /** A fresh worker. */
  backend(): LocalBackend;
  peers(): Readonly<Record<string, PeerFactory>>;
  /** The server's most likely answer. */
  server(messages: readonly Message[], maxTokens: number): Promise<ServerAnswer>;
}

export type Phase = 'cold' | 'warm' | 'peers' | 'answers' | 'server';

/** What is under way, and how much of all is done, 0 to 1. */
export type Told = (phase: Phase, share: number) => void;

const SECOND_TURN_CONTEXT = 1024;
const SECOND_TURN_TOKENS = 8;
const FOLLOW_UP = 'And what does that cost?';
const QUESTIONS = ['What is localphi?', 'How do I start the server?', 'What is WebGPU?'];
const QUESTION_TOKENS = 40;

/** Rejects where the device does not hold, and where a peer cannot be had. */
export async function run(
  modelId: string,
  plan: Plan,
  parts: RunParts,
  told: Told,
): Promise<Measured> {
  // 1. Loading, without and with what the browser keeps.
  const cold = await load(modelId, plan, parts, true, () => {
    told('cold', 0);
  });
  cold.subject.close();
  const own = await load(modelId, plan, parts, false, () => {
    told('warm', 0);
  });
  const subjects: Subject[] = [own.subject];
  try {
    // 2. Who else answers.
    told('peers', 0);
    for (const name of plan.peers) {
      const make = parts.peers()[name];
      if (!make) throw new Error(`there is no peer '${name}' in this page`);
      subjects.push(await make(modelId, plan.device));
    }
    // 3. Rounds in turn, so that a machine that slows down slows all alike. The first is not counted.
    const contexts = fitting(plan.contexts, plan.tokens, own.contextLength);
    const prompts = await Prompts.of(own.subject, 1);
    for (const subject of subjects)
      await subject.ask(await questionOf(own.subject, prompts, 64), 4);
    const cells = contexts.flatMap((context) =>
      subjects.map(({ name }) => ({ subject: name, context, answers: [] as Timed[] })),
    );
    const secondTurns: SecondTurn[] = [];
    for (let round = 0; round < plan.rounds; round++) {
      for (const [i, context] of contexts.entries()) {
        told('answers', (round + i / contexts.length) / plan.rounds);
        const question: Question = { messages: prompts.ofTokens(context), promptIds: null };
        const first = await own.subject.ask(question, plan.tokens);
        cellOf(cells, own.subject.name, context).push(first);
        const known = { ...question, promptIds: first.promptIds };
        for (const peer of subjects.slice(1)) {
          cellOf(cells, peer.name, context).push(await peer.ask(known, plan.tokens));
        }
      }
      secondTurns.push(await secondTurn(own.subject, prompts, contexts));
    }
    // 4. Whether it says what the server says.
    told('server', 1);
    const server = plan.server ? await compare(own.subject, parts) : null;
    return {
      ...{ modelId, device: plan.device, tokens: plan.tokens, rounds: plan.rounds },
      ...{ coldMs: cold.ms, warmMs: own.ms, heapBytes: await heapBytes() },
      ...{ cells, secondTurns, server },
    };
  } finally {
    for (const subject of subjects) subject.close();
  }
}

interface LoadedSubject {
  readonly subject: OwnSubject;
  readonly ms: number;
  readonly contextLength: number;
}

async function load(
  modelId: string,
  { device }: Plan,
  parts: RunParts,
  forget: boolean,
  told: () => void,
): Promise<LoadedSubject> {
  const backend = parts.backend();
  try {
    if (forget) await backend.remove(modelId);
    told();
    const startMs = performance.now();
    const signal = new AbortController().signal;
    const yes = () => Promise.resolve();
    const handlers = { onProgress: () => {}, onPlan: yes, onSpace: yes, onTrying: () => {} };
    const step = { choice: device, oneThread: false };
    const loaded = await backend.load(modelId, step, handlers, { signal });
    if (loaded.device !== device) throw new Error(whyNot(device, loaded));
    const ms = performance.now() - startMs;
    return { subject: new OwnSubject(backend), ms, contextLength: loaded.model!.contextLength };
  } catch (error) {
    backend.close();
    throw error;
  }
}

function whyNot(device: string, { rungs }: Loaded): string {
  const reason = rungs.find((rung) => rung.device === device)?.reason;
  return `${device} does not run the model here: ${reason?.detail ?? reason?.code ?? 'unknown'}`;
}

async function questionOf(own: OwnSubject, prompts: Prompts, tokens: number): Promise<Question> {
  const messages = prompts.ofTokens(tokens);
  const { promptIds } = await own.ask({ messages, promptIds: null }, 1);
  return { messages, promptIds };
}

function cellOf(
  cells: readonly { subject: string; context: number; answers: Timed[] }[],
  name: string,
  context: number,
): Timed[] {
  return cells.find((cell) => cell.subject === name && cell.context === context)!.answers;
}

/** A long prompt, and what follows on it. */
async function secondTurn(
  own: OwnSubject,
  prompts: Prompts,
  contexts: readonly number[],
): Promise<SecondTurn> {
  const first = prompts.ofTokens(Math.min(SECOND_TURN_CONTEXT, Math.max(...contexts)));
  const options = { temperature: 0, maxTokens: SECOND_TURN_TOKENS };
  const answer = await own.chat(first, options);
  const turns: readonly Message[] = [
    ...first,
    { role: 'assistant', content: answer.text },
    { role: 'user', content: FOLLOW_UP },
  ];
  const { stats } = (await own.chat(turns, options)).end;
  return {
    coldTokens: answer.end.stats.promptTokens,
    coldMs: answer.end.stats.firstTokenMs,
    newTokens: stats.promptTokens - stats.cachedTokens,
    secondMs: stats.firstTokenMs,
  };
}

async function compare(own: OwnSubject, parts: RunParts): Promise<{ equal: number; of: number }> {
  const total = { equal: 0, of: 0 };
  for (const content of QUESTIONS) {
    const messages: readonly Message[] = [{ role: 'user', content }];
    const theirs = await parts.server(messages, QUESTION_TOKENS);
    const ours = await own.text(messages, QUESTION_TOKENS);
    total.equal += equalTokens(theirs, ours);
    total.of += theirs.tokens.length;
  }
  return total;
}

interface WithMemory {
  measureUserAgentSpecificMemory?(): Promise<{ readonly bytes: number }>;
}

/** JS heap of page and workers with the model loaded; null where the browser does not tell before long. */
async function heapBytes(): Promise<number | null> {
  const measuring = (performance as WithMemory).measureUserAgentSpecificMemory?.();
  const patience = new Promise<null>((resolve) => {
    setTimeout(resolve, 3000, null);
  });
  const measured = await Promise.race([measuring ?? null, patience]).catch(() => null);
  return measured?.bytes ?? null;
}
