import { expect, test } from 'vitest';

import { ServerTools } from '../../../page/tools/server-tools';

const TOOL = {
  ...{ name: 'docs-search', description: 'Search.' },
  parameters: { type: 'object', properties: { query: { type: 'string' } } },
};

/** Answers what it is told, and keeps what it was asked. */
function serverThat(...answers: readonly (Response | Error)[]) {
  const asked: { url: string; body: unknown }[] = [];
  const left = [...answers];
  const fetchUrl = (url: RequestInfo | URL, init?: RequestInit) => {
    asked.push({ url: url as string, body: init?.body ?? null });
    const answer = left.shift()!;
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  };
  return { asked, fetchUrl: fetchUrl };
}

const json = (value: unknown, status = 200) => new Response(JSON.stringify(value), { status });
const signal = new AbortController().signal;

test('tools are asked for once, and run on the server', async () => {
  const { asked, fetchUrl } = serverThat(json({ tools: [TOOL] }), json({ result: 'June.' }));
  const tools = new ServerTools(fetchUrl);
  const [tool] = await tools.get();
  expect(await tools.get()).toEqual([tool]);
  expect(JSON.parse(tool!.parameters)).toEqual(TOOL.parameters);
  expect(await tool!.run({ query: 'rent' }, { signal })).toBe('June.');
  expect(asked).toEqual([
    { url: '/tools', body: null },
    { url: '/tools/docs-search', body: '{"arguments":{"query":"rent"}}' },
  ]);
});

test('what the server says of a call that failed is what the model reads', async () => {
  const { fetchUrl } = serverThat(
    json({ tools: [TOOL] }),
    json({ error: { message: 'Try other words.', code: 'tool_failed' } }, 422),
  );
  const [tool] = await new ServerTools(fetchUrl).get();
  await expect(tool!.run({}, { signal })).rejects.toThrow('Try other words.');
});

test('a server that is away or knows no tools has none, and is asked again', async () => {
  const { asked, fetchUrl } = serverThat(new Error('gone'), json({}, 404), json({ tools: [TOOL] }));
  const tools = new ServerTools(fetchUrl);
  expect(await tools.get()).toEqual([]);
  expect(await tools.get()).toEqual([]);
  expect(await tools.get()).toHaveLength(1);
  expect(asked).toHaveLength(3);
});
