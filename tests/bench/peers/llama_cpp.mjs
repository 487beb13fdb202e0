/**
 * llama.cpp behind the little of OpenAI's API that the bench needs, by node-llama-cpp and its prebuilt binaries.
 *
 *   npm install --prefix DIR node-llama-cpp@3.22.1
 *   node tests/bench/peers/llama_cpp.mjs MODEL.gguf --modules DIR/node_modules [--threads 2] [--streams 16]
 *     [--context 2400] [--flash-attention] [--port 0]
 *
 * Each stream has a sequence of its own in one context, which computes those at work in one batch; a sequence keeps
 * what it has read, and takes a prompt that begins alike from there. Without --flash-attention it is off: on the CPU,
 * with Phi-3's head size of 96, it halves the speed at 512 tokens. Prints its address when the model is loaded.
 */
import { createServer } from 'node:http';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    modules: { type: 'string' },
    threads: { type: 'string', default: '2' },
    streams: { type: 'string', default: '16' },
    context: { type: 'string', default: '2400' },
    'flash-attention': { type: 'boolean', default: false },
    port: { type: 'string', default: '0' },
  },
});
const library = resolve(options.modules, 'node-llama-cpp', 'dist', 'index.js');
const { getLlama } = await import(pathToFileURL(library).href);

const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, maxThreads: Number(options.threads) });
const model = await llama.loadModel({ modelPath: resolve(positionals[0]) });
const streams = Number(options.streams);
const context = await model.createContext({
  sequences: streams,
  contextSize: Number(options.context),
  batchSize: 512,
  threads: Number(options.threads),
  flashAttention: options['flash-attention'],
});
const idle = Array.from({ length: streams }, () => context.getSequence());
const waiting = [];

/** The idle sequence that shares most with a prompt; waits for one when all are at work. */
async function takeSequence(prompt) {
  if (idle.length === 0) return await new Promise((got) => waiting.push(got));
  const shared = idle.map((sequence) => commonLength(sequence.contextTokens, prompt));
  return idle.splice(shared.indexOf(Math.max(...shared)), 1)[0];
}

function giveBack(sequence) {
  const next = waiting.shift();
  if (next) next(sequence);
  else idle.push(sequence);
}

function commonLength(left, right) {
  let length = 0;
  while (length < left.length && left[length] === right[length]) length += 1;
  return length;
}

async function answer(request, response) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const { prompt, max_tokens: limit } = JSON.parse(Buffer.concat(chunks).toString());
  if (prompt.length + limit > Number(options.context)) {
    response.writeHead(400, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ error: { message: `more than the context of ${options.context}` } }));
    return;
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const sequence = await takeSequence(prompt);
  let made = 0;
  try {
    const shared = Math.min(commonLength(sequence.contextTokens, prompt), prompt.length - 1);
    await sequence.eraseContextTokenRanges([{ start: shared, end: sequence.nextTokenIndex }]);
    const tokens = sequence.evaluate(prompt.slice(shared), { temperature: 0, yieldEogToken: true });
    for await (const token of tokens) {
      made += 1;
      const last = made === limit;
      const text = model.detokenize([token], true) || '.';
      const choice = { index: 0, text, finish_reason: last ? 'length' : null };
      response.write(`data: ${JSON.stringify({ choices: [choice] })}\n\n`);
      if (last || response.destroyed) break;
    }
  } finally {
    giveBack(sequence);
  }
  const usage = { prompt_tokens: prompt.length, completion_tokens: made };
  response.end(`data: ${JSON.stringify({ choices: [], usage })}\n\ndata: [DONE]\n\n`);
}

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    process.stderr.write(`${error.stack}\n`);
    response.end(`data: ${JSON.stringify({ error: { message: String(error) } })}\n\n`);
  });
});
server.listen(Number(options.port), '127.0.0.1', () => {
  process.stdout.write(`page http://127.0.0.1:${server.address().port}/\n`);
});
