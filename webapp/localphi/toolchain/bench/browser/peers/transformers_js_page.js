// Runs in the page before its own scripts; see static/bench/subject.ts for what a peer is.
globalThis.localphiBenchPeers = {
  ...globalThis.localphiBenchPeers,
  'transformers.js': async (modelId, device) => {
    const worker = new Worker('/bench-peers/transformers.js/worker.mjs', { type: 'module' });
    const call = (message) =>
      new Promise((resolve, reject) => {
        worker.onmessage = ({ data }) => {
          if (data.error === undefined) resolve(data);
          else reject(new Error(`transformers.js: ${data.error}`));
        };
        worker.onerror = (event) => {
          reject(new Error(`transformers.js: ${event.message || 'its worker did not start'}`));
        };
        worker.postMessage(message);
      });
    await call({ type: 'load', modelId, device });
    return {
      name: 'transformers.js',
      ask: ({ promptIds }, tokens) => call({ type: 'ask', promptIds: [...promptIds], tokens }),
      close: () => {
        worker.terminate();
      },
    };
  },
};
