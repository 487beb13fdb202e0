import { expect, test } from 'vitest';

import type { AnswerEnd, AnswerHandlers, Backend } from '../../page/backend';
import { steadyChat } from '../../page/steady-answer';
import { LocalphiError } from '../../shared/errors';
import type { ChatOptions } from '../../shared/protocol';

const STATS: AnswerEnd['stats'] = {
  ...{ device: 'wasm' as const, promptTokens: 1, cachedTokens: 0, tokens: 1 },
  ...{ firstTokenMs: 1, tokensPerSecond: null },
};
const DONE: AnswerEnd = { reason: 'stop', stats: STATS, ids: null };
const LOST = new LocalphiError('device', 'lost');

type Script = (handlers: AnswerHandlers) => AnswerEnd;

/** What is shown of an answer that the backends make, one after the other. */
async function shown(scripts: Script[], { unsay = true, signal = NEVER } = {}) {
  const seen = { text: '', calls: [] as string[], moved: [] as string[], unsaid: [] as number[] };
  const asked: ChatOptions[] = [];
  const backends = scripts.map((script): Backend => ({
    chat: (_messages, options, handlers) => {
      asked.push(options);
      return Promise.resolve().then(() => script(handlers));
    },
  }));
  const source = {
    ready: () => Promise.resolve(backends[0]!),
    replace: () => {
      backends.shift();
      return Promise.resolve(backends.length > 0 ? ('wasm' as const) : null);
    },
  };
  const handlers: AnswerHandlers = {
    onReading: () => {},
    onText: (text) => {
      seen.text += text;
    },
    onCall: (piece) => {
      seen.calls.push(piece.type === 'call' ? piece.name : piece.text);
    },
    onMoved: (device) => {
      seen.moved.push(device);
    },
    ...(unsay && {
      onTakenBack: (characters: number) => {
        seen.unsaid.push(characters);
        seen.text = seen.text.slice(0, seen.text.length - characters);
      },
    }),
  };
  const end = steadyChat(source, [], { temperature: 0 }, handlers, { signal });
  return { seen, asked, end: await end };
}

const NEVER = new AbortController().signal;

/** Says the pieces, each with an id, and ends or breaks off. */
const says =
  (pieces: readonly (readonly [number, string])[], breaksOff = false): Script =>
  (handlers) => {
    for (const [id, text] of pieces) {
      handlers.onIds?.([id]);
      handlers.onText(text);
    }
    if (breaksOff) throw LOST;
    return DONE;
  };

const WHOLE = [
  [1, 'One'],
  [2, ' two'],
  [3, ' three'],
] as const;

for (let cut = 0; cut <= WHOLE.length; cut++) {
  test(`broken off after ${cut} pieces, the answer goes on and nothing is said twice`, async () => {
    const { seen, asked } = await shown([says(WHOLE.slice(0, cut), true), says(WHOLE)]);
    expect(seen).toEqual({ text: 'One two three', calls: [], moved: ['wasm'], unsaid: [] });
    const begunIds = WHOLE.slice(0, cut).map(([id]) => id);
    expect(asked[1]).toEqual({ temperature: 0, ...(cut > 0 && { begunIds }) });
  });
}

test('it may break off as often as there is something else', async () => {
  const { seen, asked } = await shown([
    says(WHOLE.slice(0, 1), true),
    says(WHOLE.slice(0, 2), true),
    says(WHOLE.slice(0, 1), true), // this one did not come as far as the last
    says(WHOLE),
  ]);
  expect(seen.text).toBe('One two three');
  expect(asked.map(({ begunIds }) => begunIds?.length ?? 0)).toEqual([0, 1, 2, 2]);
});

test('the pieces of the next one may be others', async () => {
  const other = [
    [1, 'O'],
    [2, 'ne tw'],
    [3, 'o three'],
  ] as const;
  expect((await shown([says(WHOLE.slice(0, 2), true), says(other)])).seen.text).toBe(
    'One two three',
  );
});

test('with nothing else the error is the first one', async () => {
  await expect(shown([says(WHOLE.slice(0, 1), true)])).rejects.toBe(LOST);
});

test('what the next one says otherwise takes the place of what was said', async () => {
  const other = [
    [1, 'One'],
    [7, ' more'],
  ] as const;
  const { seen } = await shown([says(WHOLE.slice(0, 2), true), says(other)]);
  expect(seen).toMatchObject({ text: 'One more', unsaid: [7] });
});

test('so does an answer that ends earlier', async () => {
  const { seen } = await shown([says(WHOLE.slice(0, 2), true), says(WHOLE.slice(0, 1))]);
  expect(seen).toMatchObject({ text: 'One', unsaid: [4] });
});

test('where nothing can be unsaid, another answer is an error', async () => {
  const other = says([[7, 'Two']]);
  const answer = shown([says(WHOLE.slice(0, 1), true), other, says(WHOLE)], { unsay: false });
  await expect(answer).rejects.toThrow('answers otherwise');
});

const calling =
  (callId: string, pieces: string[], breaksOff = false): Script =>
  (handlers) => {
    handlers.onCall?.({ type: 'call', index: 0, callId, name: 'f' });
    for (const text of pieces) handlers.onCall?.({ type: 'arguments', index: 0, text });
    if (breaksOff) throw LOST;
    return { ...DONE, reason: 'tool_calls' };
  };

test('a call goes on where it was broken off', async () => {
  const { seen } = await shown([
    calling('a', ['{"a', '": '], true),
    calling('b', ['{', '"a": 1}']),
  ]);
  expect(seen.calls).toEqual(['f', '{"a', '": ', '1}']);
});

test('another call is an error', async () => {
  const answer = shown([calling('a', ['{"a'], true), calling('b', ['{"b": 1}'])]);
  await expect(answer).rejects.toThrow('answers otherwise');
});

test('an answer that was stopped is not made again', async () => {
  const stop = new AbortController();
  const stopped: Script = () => {
    stop.abort();
    throw LOST;
  };
  await expect(shown([stopped, says(WHOLE)], { signal: stop.signal })).rejects.toBe(LOST);
});

test('only the answer whose adapter this browser cannot take is the server\u2019s', async () => {
  const refusing: Backend = {
    chat: () => Promise.reject(new LocalphiError('no-lora', 'takes no adapters')),
  };
  const server: Backend = {
    chat: (_messages, { adapter }, handlers) => {
      handlers.onText(`with ${adapter}`);
      return Promise.resolve(DONE);
    },
  };
  const said: string[] = [];
  const handlers = {
    onReading: () => {},
    onText: (text: string) => said.push(text),
    onMoved: (device: string) => said.push(device),
  };
  const source = {
    ready: () => Promise.resolve(refusing),
    replace: () => Promise.reject(new Error('the browser goes on')),
  };
  const ask = (more: object) =>
    steadyChat({ ...source, ...more }, [], { adapter: 'poems' }, handlers, { signal: NEVER });
  expect(await ask({ server: () => server })).toBe(DONE);
  expect(said).toEqual(['server', 'with poems']);
  await expect(ask({ server: () => null })).rejects.toMatchObject({ kind: 'no-lora' });
  await expect(ask({})).rejects.toMatchObject({ kind: 'no-lora' });
});
