// The official OpenAI client for JavaScript against a server of ours: node checks.mjs <url> <check>
// A check ends quietly, or with what was wrong.
import assert from 'node:assert/strict';
import OpenAI from 'openai';

const MODEL = 'localphi-demo';
const QUESTION = [{ role: 'user', content: 'What is localphi?' }];
const WEATHER = {
  name: 'get_weather',
  description: 'Get the weather in a city',
  parameters: {
    type: 'object',
    properties: { city: { type: 'string', maxLength: 20 }, unit: { enum: ['C', 'F'] } },
    required: ['city', 'unit'],
    additionalProperties: false,
  },
  strict: true,
};
const ORDER = {
  type: 'object',
  properties: { dish: { enum: ['soup', 'salad'] }, number: { type: 'integer' } },
  required: ['dish', 'number'],
  additionalProperties: false,
};

const checks = {
  async models(client) {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    assert.deepEqual(ids, [MODEL]);
  },

  async chat(client) {
    const answer = await client.chat.completions.create({ model: MODEL, messages: QUESTION });
    assert.match(answer.choices[0].message.content, /localphi/);
    const { prompt_tokens, completion_tokens, total_tokens } = answer.usage;
    assert.equal(prompt_tokens + completion_tokens, total_tokens);
  },

  async stream(client) {
    const whole = await client.chat.completions.create({ model: MODEL, messages: QUESTION });
    const stream = client.chat.completions.stream({
      model: MODEL,
      messages: QUESTION,
      stream_options: { include_usage: true },
    });
    let text = '';
    stream.on('content', (delta) => (text += delta));
    const final = await stream.finalChatCompletion();
    assert.equal(text, whole.choices[0].message.content);
    assert.equal(final.choices[0].message.content, text);
    assert.equal((await stream.totalUsage()).completion_tokens, whole.usage.completion_tokens);
  },

  async several(client) {
    const asked = { model: MODEL, messages: QUESTION, n: 3, seed: 1, temperature: 1.5, max_tokens: 16 };
    const whole = await client.chat.completions.create(asked);
    const texts = ['', '', ''];
    for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) {
      for (const choice of chunk.choices) texts[choice.index] += choice.delta.content ?? '';
    }
    assert.deepEqual(texts, whole.choices.map((choice) => choice.message.content));
  },

  async tools(client) {
    const asked = {
      model: MODEL,
      messages: [{ role: 'user', content: 'How is the weather in Paris?' }],
      tools: [{ type: 'function', function: WEATHER }],
      tool_choice: { type: 'function', function: { name: 'get_weather' } },
    };
    const answer = await client.chat.completions.create(asked);
    const [call] = answer.choices[0].message.tool_calls;
    assert.deepEqual(Object.keys(JSON.parse(call.function.arguments)), ['city', 'unit']);
    const streamed = await client.chat.completions.stream(asked).finalChatCompletion();
    assert.equal(streamed.choices[0].message.tool_calls[0].function.arguments, call.function.arguments);
  },

  async runTools(client) {
    const called = [];
    const weather = { ...WEATHER, parse: JSON.parse, function: (args) => (called.push(args), 'snow') };
    const runner = client.chat.completions.runTools({
      model: MODEL,
      messages: [{ role: 'user', content: 'How is the weather in Paris?' }],
      tools: [{ type: 'function', function: weather }],
      tool_choice: { type: 'function', function: { name: 'get_weather' } },
    });
    await runner.done();
    assert.equal(called.length, 1);
    assert.ok(runner.messages.some((message) => message.role === 'tool' && message.content === 'snow'));
  },

  async schema(client) {
    const answer = await client.chat.completions.parse({
      model: MODEL,
      messages: [{ role: 'user', content: 'Two soups, please.' }],
      response_format: { type: 'json_schema', json_schema: { name: 'order', strict: true, schema: ORDER } },
    });
    const order = JSON.parse(answer.choices[0].message.content);
    assert.ok(['soup', 'salad'].includes(order.dish) && Number.isInteger(order.number));
  },

  async completions(client) {
    const asked = { model: MODEL, prompt: 'localphi is', max_tokens: 8 };
    const whole = await client.completions.create(asked);
    let text = '';
    for await (const chunk of await client.completions.create({ ...asked, stream: true })) {
      text += chunk.choices[0].text;
    }
    assert.equal(text, whole.choices[0].text);
  },

  async responses(client) {
    const asked = { model: MODEL, input: 'What is localphi?' };
    const whole = await client.responses.create(asked);
    assert.match(whole.output_text, /localphi/);
    let text = '';
    const stream = client.responses.stream(asked);
    stream.on('response.output_text.delta', (event) => (text += event.delta));
    const final = await stream.finalResponse();
    assert.equal(text, whole.output_text);
    assert.equal(final.output_text, text);
  },

  async responsesTools(client) {
    const asked = {
      model: MODEL,
      input: [{ role: 'user', content: 'How is the weather in Paris?' }],
      tools: [{ type: 'function', ...WEATHER }],
    };
    const choice = { type: 'function', name: 'get_weather' };
    const answer = await client.responses.create({ ...asked, tool_choice: choice });
    const call = answer.output.find((item) => item.type === 'function_call');
    assert.deepEqual(Object.keys(JSON.parse(call.arguments)), ['city', 'unit']);
    const output = { type: 'function_call_output', call_id: call.call_id, output: 'snow' };
    const input = [...asked.input, ...answer.output, output];
    const last = await client.responses.create({ ...asked, input, tool_choice: 'none' });
    assert.ok(last.output_text.length > 0);
  },

  async errors(client) {
    const wrong = { model: MODEL, messages: QUESTION, max_tokens: 0 };
    await assert.rejects(client.chat.completions.create(wrong), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.equal(error.param, 'max_tokens');
      return true;
    });
    await assert.rejects(client.responses.create({ model: 'nope', input: 'hi' }), OpenAI.NotFoundError);
  },

  async abort(client) {
    const stream = await client.chat.completions.create({ model: MODEL, messages: QUESTION, stream: true });
    let chunks = 0;
    for await (const _ of stream) if (++chunks === 2) break;
    assert.equal(chunks, 2);
    const answer = await client.chat.completions.create({ model: MODEL, messages: QUESTION });
    assert.ok(answer.choices[0].message.content);
  },

  async resume(client) {
    const asked = { model: MODEL, messages: QUESTION, stream: true };
    const request = client.chat.completions.create(asked, { headers: { 'X-Stream-Resumable': '1' } });
    const { data: stream, response } = await request.withResponse();
    let seen = 0;
    for await (const _ of stream) if (++seen === 3) break;
    const url = `${client.baseURL}/streams/${response.headers.get('X-Stream-Id')}`;
    const rest = await (await fetch(url, { headers: { 'Last-Event-ID': String(seen) } })).text();
    assert.match(rest, /^id: 4$/m);
    assert.match(rest, /^data: \[DONE\]$/m);
  },
};

const [url, name] = process.argv.slice(2);
if (name === undefined) {
  console.log(Object.keys(checks).join('\n'));
} else {
  await checks[name](new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 }));
}
