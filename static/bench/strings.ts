/** What the bench page says. */
export const strings = {
  title: 'How fast is Phi here?',
  intro:
    'The model answers prompts of several lengths in this browser. Loading “cold” deletes what the browser ' +
    'keeps of the model and fetches it again. Results stay in this browser; nothing is sent anywhere. ' +
    'Close other programs and tabs first.',
  device: 'Device',
  rounds: 'Rounds',
  tokens: 'Tokens an answer',
  run: 'Measure',
  noModel: 'the server has no model',
  phases: {
    cold: 'Loading, cold …',
    warm: 'Loading from the browser’s storage …',
    peers: 'Warming up …',
    answers: 'Answering …',
    server: 'Comparing with the server …',
  } as Readonly<Record<string, string>>,
  columns: ['', 'Prompt tokens', 'First token', 'Prefill tokens/s', 'Decode tokens/s'],
  cold: 'Load, cold',
  warm: 'Load, from the browser’s storage',
  heap: 'JS heap, loaded',
  second: 'First token of a second turn',
  slowdown: 'Decode, longest prompt by shortest',
  equal: 'Tokens equal to the server’s',
  copyMarkdown: 'Copy as Markdown',
  copyJson: 'Copy as JSON',
  earlier: 'Runs in this browser: decode tokens/s',
  forget: 'Forget all runs',
};
