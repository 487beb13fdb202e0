// Greedy ids by ONNX Runtime Web in Node: node ort_web.mjs ORT_MODULE DEVICE MODEL_FOLDER…
// Reads the variant of localphi.json as the page does, and prints for each folder a line with the ids that
// follow its canary's prompt.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [ortModule, device, ...folders] = process.argv.slice(2);
const ort = await import(pathToFileURL(ortModule));
ort.env.wasm.numThreads = 1;
for (const folder of folders) console.log(JSON.stringify(await answer(folder)));

async function answer(folder) {
  const read = (name) => new Uint8Array(readFileSync(join(folder, name)));
  const { files, canary } = JSON.parse(readFileSync(join(folder, 'localphi.json'), 'utf8')).variants[device];
  const graph = files.find((name) => name.endsWith('.onnx'));
  const weights = files.filter((name) => name !== graph && !name.endsWith('.json'));
  const session = await ort.InferenceSession.create(read(graph), {
    executionProviders: ['wasm'],
    externalData: weights.map((path) => ({ path, data: read(path) })),
  });
  const config = JSON.parse(readFileSync(join(folder, 'genai_config.json'), 'utf8')).model.decoder;
  const shape = [1, config.num_key_value_heads, 0, config.head_size];
  const pasts = session.inputNames.filter((name) => name.startsWith('past_key_values.'));
  let cache = Object.fromEntries(pasts.map((name) => [name, new ort.Tensor('float32', new Float32Array(0), shape)]));
  const ids = [];
  let next = canary.prompt;
  let total = 0;
  while (ids.length < canary.expected.length) {
    total += next.length;
    const results = await session.run({
      input_ids: new ort.Tensor('int64', BigInt64Array.from(next, BigInt), [1, next.length]),
      attention_mask: new ort.Tensor('int64', new BigInt64Array(total).fill(1n), [1, total]),
      ...cache,
    });
    const logits = results.logits.data;
    ids.push(logits.indexOf(logits.reduce((most, value) => Math.max(most, value), -Infinity)));
    next = ids.slice(-1);
    cache = Object.fromEntries(pasts.map((name) => [name, results[name.replace('past_key_values', 'present')]]));
  }
  return { ids, inputs: session.inputNames };
}
