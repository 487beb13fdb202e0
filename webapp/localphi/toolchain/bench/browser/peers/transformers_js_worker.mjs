// transformers.js on the weights of a localphi model, in a worker as ours is.
import { AutoModelForCausalLM, BaseStreamer, Tensor, env } from '/bench-peers/transformers.js/library.mjs';

const MODELS = '/bench-peers/transformers.js/models/';
const MOST_THREADS = 8; // as in static/worker/runtime/ort.ts

env.allowRemoteModels = false;
env.allowLocalModels = true;
env.localModelPath = MODELS;
env.useBrowserCache = false;
env.backends.onnx.wasm.wasmPaths = new URL('/bench-peers/transformers.js/ort/', self.location.href).href;
env.backends.onnx.wasm.numThreads = Math.min(navigator.hardwareConcurrency, MOST_THREADS);

/** When each token came. */
class Clock extends BaseStreamer {
  times = [];
  put() {
    this.times.push(performance.now());
  }
  end() {}
}

let model;

async function load({ modelId, device }) {
  const config = await (await fetch(`${MODELS}${modelId}/config.json`)).json();
  const externalData = await Promise.all(
    config.localphi_weights.map(async (path) => {
      const response = await fetch(`/models/${modelId}/${path}`);
      if (!response.ok) throw new Error(`${path}: the server answered ${response.status}`);
      return { path, data: new Uint8Array(await response.arrayBuffer()) };
    }),
  );
  model = await AutoModelForCausalLM.from_pretrained(modelId, {
    device,
    dtype: 'fp32', // the name of the file, not of its weights: they are what the graph says
    // It takes the shape of an empty cache from the graph, where the size of a head may have a name only.
    session_options: { externalData, freeDimensionOverrides: { kv_cache_dim: config.head_dim } },
  });
  return {};
}

async function ask({ promptIds, tokens }) {
  const ids = BigInt64Array.from(promptIds, BigInt);
  const shape = [1, ids.length];
  const clock = new Clock();
  const startMs = performance.now();
  const output = await model.generate({
    inputs: new Tensor('int64', ids, shape),
    attention_mask: new Tensor('int64', new BigInt64Array(ids.length).fill(1n), shape),
    max_new_tokens: tokens,
    do_sample: false,
    streamer: clock,
  });
  const [, ...times] = clock.times; // the first is the prompt
  const answer = [...output.data].slice(promptIds.length).map(Number);
  if (times.length !== answer.length || answer.length !== tokens) {
    throw new Error(`wanted ${tokens} tokens, got ${answer.length} in ${times.length} steps`);
  }
  const decodeMs = times.at(-1) - times[0];
  return {
    promptIds,
    ids: answer,
    cachedTokens: 0,
    firstTokenMs: times[0] - startMs,
    tokensPerSecond: decodeMs > 0 ? ((answer.length - 1) * 1000) / decodeMs : null,
  };
}

self.onmessage = async ({ data }) => {
  try {
    self.postMessage(await (data.type === 'load' ? load(data) : ask(data)));
  } catch (error) {
    self.postMessage({ error: error instanceof Error ? error.message : String(error) });
  }
};
