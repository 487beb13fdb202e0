/** Every word the page says, in one place so that it can be said in other languages. */
import type { ErrorKind } from '../shared/errors';
import type {
  AnswerStats,
  Device,
  DeviceChoice,
  LoadNote,
  LoadProgress,
  Reason,
} from '../shared/protocol';
import type { ChatGroup } from './chats/record';
import type { NumberField } from './settings';

const count = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const hundredths = new Intl.NumberFormat('en', { maximumFractionDigits: 2 });
const tenths = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

const deviceNames: Record<Device, string> = {
  webgpu: 'WebGPU',
  webnn: 'WebNN',
  wasm: 'WASM',
  server: 'Server',
};

/** The same names in the middle of a sentence. */
const devicesInText: Record<Device, string> = { ...deviceNames, server: 'the server' };

const deviceHints: Record<DeviceChoice, string> = {
  auto: 'The fastest one that works',
  webgpu: 'The graphics card, from this page',
  webnn: 'What the system has for neural networks, from this page',
  wasm: 'The processor, from this page',
  server: 'ONNX Runtime where this page comes from',
};

const reasons: Record<Reason['code'], string> = {
  'no-webgpu': 'This browser has no WebGPU.',
  'no-adapter': 'The browser offers no graphics card to this page.',
  'software-adapter': 'Graphics are computed by the processor here, so WASM is faster.',
  'no-webnn': 'This browser has no WebNN.',
  'opt-in': 'An experiment of browsers, used only when it is chosen.',
  'no-simd': 'This browser’s WebAssembly lacks SIMD.',
  'no-f16': 'The graphics card has no 16-bit numbers.',
  'too-large': 'The model has no room there.',
  'no-variant': 'The model has no files for this device.',
  'wrong-answers': 'It computed a test question wrongly.',
  'too-slow': 'It was not ready in time.',
  failed: 'It failed.',
  stopped: 'Loading the model was stopped.',
  'no-server': 'The server cannot be reached.',
  'no-worker': 'The browser could not start the model’s thread.',
};

const errors: Record<ErrorKind, string> = {
  network: 'The server cannot be reached. Check that it is still running, then try again.',
  damaged:
    'A part of a model file arrived damaged, three times. Try again; if it stays so, the server’s copy is bad.',
  manifest: 'The model’s description cannot be used. Its folder on the server needs repair.',
  variant: 'The model has no files for this device. Choose another device.',
  request: 'This cannot be asked of the model. Change the settings of the answer.',
  context: 'This chat is longer than the model can read. Start a new chat.',
  device: 'The device failed. Try again, or choose another device.',
  canary: 'The device computes wrongly. Choose another device.',
  memory: 'The model has no room on this device. Choose another device.',
  timeout: 'The device was not ready in time. Try again, or choose another device.',
  server: 'The server could not answer. Try again.',
  worker: 'The model’s thread stopped. Try again.',
  stopped:
    'Loading the model was stopped. What has arrived is kept, and loading goes on from there.',
  busy: 'The model is being fetched, here or in another tab. Stop that first.',
};

const notes: Record<LoadNote, string> = {
  'one-thread': 'The page is not isolated, so WASM runs on one core only.',
  'not-stored': 'The browser keeps no files for this page, so the model is fetched on each visit.',
  repaired: 'A part of the model had changed in the browser’s storage. It was fetched again.',
  'stored-manifest': 'The server is out of reach. This is the model of an earlier visit.',
};

const chatGroups: Record<ChatGroup, string> = {
  pinned: 'Pinned',
  today: 'Today',
  week: 'Last seven days',
  older: 'Older',
};

const settingNames: Record<NumberField, string> = {
  temperature: 'Temperature',
  maxTokens: 'Longest answer',
  topP: 'Top p',
  topK: 'Top k',
  minP: 'Min p',
  repetitionPenalty: 'Repetition penalty',
  presencePenalty: 'Presence penalty',
  frequencyPenalty: 'Frequency penalty',
  seed: 'Seed',
};

const settingHints: Record<NumberField, string> = {
  temperature: '0 always takes the likeliest word; more is more varied.',
  maxTokens: 'In tokens; a word has one or two.',
  topP: 'Share of the likeliest words to choose from.',
  topK: 'Number of the likeliest words to choose from; 0 is all.',
  minP: 'Words less likely than this share of the likeliest are out.',
  repetitionPenalty: 'Above 1, words of question and answer come again less often.',
  presencePenalty: 'Above 0, words of the answer come again less often.',
  frequencyPenalty: 'The same, the more the oftener a word has come.',
  seed: 'The same seed gives the same answer again.',
};

export const strings = {
  product: 'localphi',
  here: 'This Phi runs in your browser. Nothing leaves this machine.',
  /** host: where the page comes from, or null when that is this machine. */
  onServer: (host: string | null) =>
    host === null
      ? 'This Phi runs in the server on this machine. Nothing leaves it.'
      : `This Phi runs on ${host}. What you write goes there and nowhere else.`,
  examples: [
    'What is localphi?',
    'Which Phi models are there?',
    'What is WebGPU?',
    'Does it work offline?',
  ],
  examplesLabel: 'Questions to start with',
  newChat: 'New chat',
  undo: 'Undo',
  newVersion: 'A new version of localphi is here.',
  reload: 'Reload',
  close: 'Close',
  done: 'Done',
  cancel: 'Cancel',
  insecure: 'browsers run models only in pages that came by HTTPS or from this machine',
  keyTitle: 'Access key',
  keyWanted:
    'This server answers with an access key only. Whoever runs it makes one with “localphi keys new”.',
  key: 'Key',
  keyLasting: 'Keep it in this browser. Otherwise it is forgotten with this tab.',
  keyUse: 'Use this key',
  keyRefused: 'The server did not take this key.',
  keyUnusable: 'This is no key: it has to be one word of up to 256 characters.',
  keyKept: 'This page has an access key of the server.',
  keyForget: 'Forget it',
  retry: 'Try again',
  send: 'Send',
  stop: 'Stop',
  placeholder: 'Ask something',
  you: 'You',
  transcript: 'Chat',
  copy: 'Copy',
  copyCode: 'Copy code',
  copyAnswer: 'Copy answer',
  copyOutcome: (outcome: 'copied' | 'failed') =>
    outcome === 'copied' ? 'Copied' : 'Could not copy',
  /** Over code without a language. */
  code: 'code',
  codeLabel: (language: string) => (language === '' ? 'Code' : `Code, ${language}`),
  editQuestion: 'Edit',
  askAgain: 'Ask again',
  editedQuestion: 'Your question, edited',
  regenerate: 'Regenerate',
  alternative: (which: number, of: number) => `${which} / ${of}`,
  alternativesLabel: 'Versions',
  previousAlternative: 'Previous version',
  nextAlternative: 'Next version',
  /** For screen readers, in place of a long answer. */
  answerReady: (words: number) => `The answer is there, ${count.format(words)} words.`,

  chats: 'Chats',
  showChats: 'Show chats',
  hideChats: 'Hide chats',
  searchChats: 'Search chats',
  noChats: 'Your chats will be listed here. They stay in this browser.',
  nothingFound: 'No chat has all these words.',
  chatGroup: chatGroups,
  chatTitle: 'Title of the chat',
  chatActions: (title: string) => `Actions for “${title}”`,
  beingAnswered: 'being answered',
  rename: 'Rename',
  pin: 'Pin',
  unpin: 'Unpin',
  saveMarkdown: 'Save as Markdown',
  saveJson: 'Save as JSON',
  deleteChat: 'Delete',
  chatDeleted: (title: string) => `Deleted “${title}”.`,
  chatGone: 'That chat is not in this browser (any more).',
  notKept: 'The browser keeps nothing for this page, so chats are gone when you leave.',
  importChats: 'Import',
  exportAll: 'Export all',
  /** Who speaks, in files to read. */
  speakers: { user: 'You', assistant: 'localphi' },
  imported: (added: number, known: number) => {
    const chats = added === 1 ? 'Imported 1 chat.' : `Imported ${count.format(added)} chats.`;
    return known === 0 ? chats : `${chats} ${count.format(known)} were here already.`;
  },
  importFailed: (file: string, why: string) => `Nothing was imported from ${file}: ${why}.`,
  fileTooBig: (sizeBytes: number, mostBytes: number) =>
    `the file should have at most ${megabytes(mostBytes)} MB, but has ${megabytes(sizeBytes)} MB`,

  settings: 'Settings',
  settingsNote: 'They count from the next answer on, for all chats in this browser.',
  settingName: settingNames,
  settingHint: settingHints,
  systemPrompt: 'System prompt',
  systemPromptHint: 'What the model is told before each chat',
  modelsOwn: 'the model’s own',
  moreSettings: 'More about the choice of words',
  outOfRange: (min: number, max: number) =>
    `From ${hundredths.format(min)} to ${hundredths.format(max)}.`,
  stopStrings: 'Stop strings',
  stopStringsHint: 'One a line. The answer ends before the first of them.',
  tooManyStops: 'At most 16, of up to 1024 characters.',
  reset: 'Reset all',

  shortcuts: 'Keyboard',
  singleKeys: 'Use / and ? as shortcuts',
  /** command: the key that is Ctrl on most keyboards. */
  shortcutList: (
    command: string,
  ): readonly (readonly [keys: readonly string[], meaning: string])[] => [
    [['Enter'], 'Send'],
    [['Shift', 'Enter'], 'New line'],
    [['Esc'], 'Stop the answer'],
    [['↑'], 'Edit the last question, from an empty box'],
    [['/'], 'Go to the box one writes in'],
    [[command, 'K'], 'Search chats'],
    [[command, 'Shift', 'O'], 'New chat'],
    [['?'], 'This help'],
  ],

  licences: 'Licences',
  deviceButton: (device: string) => `Device: ${device}`,
  deviceTitle: 'Where the model runs',
  deviceName: (choice: DeviceChoice) => (choice === 'auto' ? 'Automatic' : deviceNames[choice]),
  deviceHint: (choice: DeviceChoice) => deviceHints[choice],
  inUse: 'in use',
  reason: ({ code, detail }: Reason) =>
    code === 'failed' && detail !== undefined ? `It failed: ${shorten(detail)}` : reasons[code],
  detour: (reason: string, device: Device) => `${reason} Using ${devicesInText[device]} instead.`,
  moved: (device: Device) =>
    `The device failed, so the answer was finished on ${devicesInText[device]}.`,
  restarted: (device: Device) =>
    `The device failed, so the answer was made again on ${devicesInText[device]}.`,
  note: (note: LoadNote) => notes[note],
  error: (kind: ErrorKind) => errors[kind],
  loading: 'Loading',
  preparing: 'Getting the model ready…',
  connecting: 'Looking for the model…',
  unavailable: 'Not available',
  downloading: ({ stage, state, ...progress }: LoadProgress) => {
    const { loadedBytes, totalBytes, bytesPerSecond, secondsLeft } = progress;
    const share = totalBytes > 0 ? (100 * loadedBytes) / totalBytes : 0;
    const parts = [
      stage === 'waiting' ? 'Another tab is fetching the model' : null,
      `${megabytes(loadedBytes)} of ${megabytes(totalBytes)} MB`,
      `${count.format(share)} %`,
      bytesPerSecond === null ? null : `${megabytes(bytesPerSecond)} MB/s`,
      secondsLeft === null || secondsLeft < 1 ? null : `${duration(secondsLeft)} left`,
      { running: null, paused: 'paused', retrying: 'waiting for the server' }[state],
    ];
    return parts.filter((part) => part !== null).join(' · ');
  },
  pause: 'Pause',
  resume: 'Go on',
  stopLoading: 'Stop',
  spaceQuestion: (needsBytes: number, freeBytes: number | null) => {
    const most = freeBytes === null ? 'no more' : `${amount(freeBytes)} more at most`;
    return `The model needs ${amount(needsBytes)}, but the browser keeps ${most} for this page.`;
  },
  useWithoutKeeping: 'Fetch it for this visit',
  useServer: 'Use the server',
  kept: 'Kept in this browser',
  keptNothing: 'No model is kept.',
  keptModel: (name: string, bytes: number) => `${name} · ${amount(bytes)}`,
  keptInAll: (usageBytes: number, quotaBytes: number) =>
    `${amount(usageBytes)} of ${amount(quotaBytes)} used`,
  checkModel: 'Check',
  checkModelLabel: (name: string) => `Check the files of ${name}`,
  modelChecked: (name: string, repaired: number) =>
    repaired === 0
      ? `All of ${name} is as it should be.`
      : `${name} had damaged files. They are whole again.`,
  deleteModel: 'Delete',
  deleteModelLabel: (name: string) => `Delete ${name} from this browser`,
  reallyDelete: 'Really?',
  modelDeleted: (name: string) => `${name} was deleted from this browser.`,
  reading: (share: number) => `Reading the chat, ${count.format(100 * share)} %`,
  thinking: 'Thinking…',
  stopped: 'Stopped.',
  full: 'The chat has filled what the model can read.',
  rate: (tokensPerSecond: number) => `${perSecond(tokensPerSecond)} tokens/s`,
  stats: ({ device, firstTokenMs, tokens, tokensPerSecond }: AnswerStats) =>
    [
      deviceNames[device],
      `first token after ${count.format(firstTokenMs)} ms`,
      tokensPerSecond === null ? null : `${perSecond(tokensPerSecond)} tokens/s`,
      tokens === 1 ? '1 token' : `${count.format(tokens)} tokens`,
    ]
      .filter((part) => part !== null)
      .join(' · '),
};

/** What another language has to say. */
export type Strings = typeof strings;

/** Messages of the runtime can be a page long. */
function shorten(text: string): string {
  const sentence = text.replace(/\s+/g, ' ').trim();
  return sentence.length > 140 ? `${sentence.slice(0, 139)}…` : `${sentence.replace(/\.$/, '')}.`;
}

function megabytes(bytes: number): string {
  return tenths.format(bytes / 1e6);
}

function duration(seconds: number): string {
  if (seconds < 90) return `${count.format(seconds)} s`;
  const minutes = seconds / 60;
  return minutes < 90 ? `${count.format(minutes)} min` : `${tenths.format(minutes / 60)} h`;
}

function amount(bytes: number): string {
  return bytes < 1e9 ? `${megabytes(bytes)} MB` : `${tenths.format(bytes / 1e9)} GB`;
}

function perSecond(rate: number): string {
  return (rate < 10 ? tenths : count).format(rate);
}
