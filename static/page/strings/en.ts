/** Every word the page says. The other languages are tables of the same type. */
import type { ErrorKind } from '../../shared/errors';
import type {
  AnswerStats,
  Device,
  DeviceChoice,
  LoadNote,
  LoadProgress,
  Reason,
} from '../../shared/protocol';
import type { MOST, Unreadable } from '../attachments';
import type { ChatGroup } from '../chats/record';
import type { PullStatus } from '../models/catalogue';
import type { Facts } from '../models/facts';
import type { Fit } from '../models/fit';
import type { NumberField } from '../settings';
import { dotted, formatsOf, shorten } from './formats';

const f = formatsOf('en');

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
  'no-f16': 'The graphics card has no 16-bit numbers.',
  'no-webnn': 'This browser has no WebNN.',
  'opt-in': 'An experiment of browsers, used only when it is chosen.',
  'no-simd': 'This browser’s WebAssembly lacks SIMD.',
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
  adapter: 'This adapter cannot be used with the model here. Choose another one, or none.',
  'no-lora':
    'The model’s files for this device take no adapters. Choose the server as the device, or no adapter.',
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

const fits: Record<Fit, string> = {
  fits: 'Fits this machine',
  tight: 'Fits, with little to spare',
  'too-big': 'Too big for this machine',
  unknown: 'Size not known yet',
};

const pullStates: Record<PullStatus, string> = {
  asking: 'Asking what there is to fetch…',
  fetching: 'Fetching',
  done: 'Here',
  failed: 'It did not work.',
  stopped: 'Stopped. What has come is kept.',
};

export const english = {
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
  copyOutcome: (outcome: 'copied' | 'failed'): string =>
    outcome === 'copied' ? 'Copied' : 'Could not copy',
  /** Over code without a language. */
  code: 'code',
  codeLabel: (language: string) => (language === '' ? 'Code' : `Code, ${language}`),
  /** Of an item in a list of tasks. */
  task: (done: boolean): string => (done ? 'Done' : 'Open'),
  editQuestion: 'Edit',
  askAgain: 'Ask again',
  editedQuestion: 'Your question, edited',
  regenerate: 'Regenerate',
  alternative: (which: number, of: number) => `${which} / ${of}`,
  alternativesLabel: 'Versions',
  previousAlternative: 'Previous version',
  sideBySide: 'Side by side',
  useVersion: 'Go on with this one',
  nextAlternative: 'Next version',
  /** For screen readers, in place of a long answer. */
  answerReady: (words: number) => `The answer is there, ${f.count(words)} words.`,

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
    const chats = added === 1 ? 'Imported 1 chat.' : `Imported ${f.count(added)} chats.`;
    return known === 0 ? chats : `${chats} ${f.count(known)} were here already.`;
  },
  importFailed: (file: string, why: string) => `Nothing was imported from ${file}: ${why}.`,
  fileTooBig: (sizeBytes: number, mostBytes: number) =>
    `the file should have at most ${f.megabytes(mostBytes)}, but has ${f.megabytes(sizeBytes)}`,

  settings: 'Settings',
  settingsNote: 'They count from the next answer on, for all chats in this browser.',
  settingName: settingNames,
  settingHint: settingHints,
  systemPrompt: 'System prompt',
  systemPromptHint: 'What the model is told before each chat',
  modelsOwn: 'the model’s own',
  moreSettings: 'More about the choice of words',
  outOfRange: (min: number, max: number) => `From ${f.hundredths(min)} to ${f.hundredths(max)}.`,
  adapter: 'Adapter',
  noAdapter: 'None',
  adapterHint: 'Changes how the model answers. Answers with an adapter come from the server.',
  contextLength: 'Context length',
  contextHint:
    'How much of a chat the model reads in this browser. On the server, its own length counts.',
  /** bytes: what it takes beside the model; null where nobody knows. */
  contextChoice: (tokens: number, bytes: number | null) =>
    bytes === null
      ? `${f.count(tokens)} tokens`
      : `${f.count(tokens)} tokens, up to ${f.amount(bytes)} of memory`,
  contextAll: (choice: string) => `All it can: ${choice}`,
  contextLater: 'This counts when the model is loaded again.',
  loadAgain: 'Load it again now',
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
    const share = totalBytes > 0 ? loadedBytes / totalBytes : 0;
    const parts = [
      stage === 'waiting' ? 'Another tab is fetching the model' : null,
      `${f.megabyteCount(loadedBytes)} of ${f.megabytes(totalBytes)}`,
      f.share(share),
      bytesPerSecond === null ? null : f.bytesPerSecond(bytesPerSecond),
      secondsLeft === null || secondsLeft < 1 ? null : `${f.duration(secondsLeft)} left`,
      { running: null, paused: 'paused', retrying: 'waiting for the server' }[state],
    ];
    return dotted(parts);
  },
  pause: 'Pause',
  resume: 'Go on',
  stopLoading: 'Stop',
  spaceQuestion: (needsBytes: number, freeBytes: number | null) => {
    const most = freeBytes === null ? 'no more' : `${f.amount(freeBytes)} more at most`;
    return `The model needs ${f.amount(needsBytes)}, but the browser keeps ${most} for this page.`;
  },
  useWithoutKeeping: 'Fetch it for this visit',
  useServer: 'Use the server',
  kept: 'Kept in this browser',
  keptNothing: 'No model is kept.',
  keptModel: (name: string, bytes: number) => `${name} · ${f.amount(bytes)}`,
  keptInAll: (usageBytes: number, quotaBytes: number) =>
    `${f.amount(usageBytes)} of ${f.amount(quotaBytes)} used`,
  checkModel: 'Check and repair',
  checkModelLabel: (name: string) => `Check and repair the files of ${name}`,
  modelChecked: (name: string, repaired: number) =>
    repaired === 0
      ? `All of ${name} is as it should be.`
      : `${name} had damaged files. They are whole again.`,
  deleteModel: 'Delete',
  deleteModelLabel: (name: string) => `Delete ${name} from this browser`,
  reallyDelete: 'Really?',
  modelDeleted: (name: string) => `${name} was deleted from this browser.`,
  reading: (share: number) => `Reading the chat, ${f.share(share)}`,
  thinking: 'Thinking…',
  stopped: 'Stopped.',
  full: 'The chat has filled what the model can read.',
  rate: (tokensPerSecond: number) => `${f.rate(tokensPerSecond)} tokens/s`,
  stats: ({ device, firstTokenMs, tokens, tokensPerSecond }: AnswerStats) =>
    dotted([
      deviceNames[device],
      `first token after ${f.count(firstTokenMs)} ms`,
      tokensPerSecond === null ? null : `${f.rate(tokensPerSecond)} tokens/s`,
      tokens === 1 ? '1 token' : `${f.count(tokens)} tokens`,
    ]),

  models: 'Models and devices',
  /** Where the model runs, in one sentence. */
  runsOn: (model: string, device: Device) =>
    ({
      webgpu: `${model} runs in this browser, on the graphics card.`,
      webnn: `${model} runs in this browser, by what the system has for neural networks.`,
      wasm: `${model} runs in this browser, on the processor.`,
      server: `${model} runs in the server, and this page shows what it says.`,
    })[device],
  nothingRuns: 'No model is running yet.',
  whyHere: 'Why there',
  /** Of a device that was not tried, and of the one in use. */
  notNeeded: 'Not tried: a better one works.',
  bestOfAll: 'The best that works here.',
  asChosen: 'As you have chosen.',
  browserCan: 'What this browser can do',
  facts: ({ gpu, cores, threads, memoryBytes, usageBytes, quotaBytes }: Facts) => [
    gpu === null
      ? 'It offers this page no graphics card.'
      : gpu.software
        ? 'Graphics are computed by the processor.'
        : `It offers a graphics card${gpu.name === '' ? '' : ` (${gpu.name})`}.`,
    threads
      ? `It uses several of the processor’s ${f.count(cores)} cores at once.`
      : 'It uses one core of the processor: the page is not isolated.',
    ...(memoryBytes === null
      ? []
      : [`This machine has about ${f.amount(memoryBytes)} of memory, or more.`]),
    quotaBytes === null || usageBytes === null
      ? 'It does not say how much it can keep.'
      : `It keeps ${f.amount(usageBytes)} for this page, and has room for ${f.amount(quotaBytes - usageBytes)}.`,
  ],
  measure: 'Measure how fast it is here',
  modelsHere: 'Ready to use',
  moreModels: 'More models',
  moreModelsNote:
    'The server fetches them from Hugging Face, and only when you press Get. Then they work offline.',
  noCatalogue: 'The server cannot be asked for models now.',
  modelFacts: (bytes: number | null, licence: string, contextTokens: number) =>
    dotted([
      bytes === null ? null : f.amount(bytes),
      licence === '' ? null : `licence ${licence}`,
      `reads ${f.count(contextTokens)} tokens`,
    ]),
  contextCost: (tokens: number, bytes: number) =>
    `A chat of ${f.count(tokens)} tokens takes ${f.amount(bytes)} of memory beside the model.`,
  fit: (fit: Fit) => fits[fit],
  runsAt: (browser: boolean): string => (browser ? 'browser and server' : 'server only'),
  useModel: 'Use',
  useModelLabel: (name: string) => `Use ${name}`,
  getModel: 'Get',
  getModelLabel: (name: string) => `Get ${name}`,
  pullState: (status: PullStatus) => pullStates[status],
  pullProgress: (doneBytes: number, totalBytes: number, perSecond: number, left: number | null) =>
    dotted([
      `${f.amount(doneBytes)} of ${f.amount(totalBytes)}`,
      f.share(totalBytes > 0 ? doneBytes / totalBytes : 0),
      perSecond > 0 ? f.bytesPerSecond(perSecond) : null,
      left === null || left < 1 ? null : `${f.duration(left)} left`,
    ]),

  language: 'Language',
  languageAuto: 'The browser’s',
  presets: 'Examples',
  presetList: [
    ['Brief', 'Answer in one or two sentences. Say so when you do not know.'],
    ['Teacher', 'Explain step by step, for somebody who hears of it for the first time.'],
    ['Programmer', 'You help with code. Show the code first, then explain it briefly.'],
    ['Editor', 'Correct spelling and style of what I write. Give only the corrected text.'],
  ] as readonly (readonly [name: string, prompt: string])[],
  readAloud: 'Read aloud',
  stopReading: 'Stop reading',

  attach: 'Attach files',
  dropHere: 'Drop text files or PDFs here',
  attached: (name: string, tokens: number) => `${name} · about ${f.count(tokens)} tokens`,
  beingRead: (name: string) => `Reading ${name}…`,
  removeAttachment: (name: string) => `Remove ${name}`,
  budget: (tokens: number, of: number) =>
    `With all that was said, about ${f.count(tokens)} of ${f.count(of)} tokens`,
  tooMuch: (tokens: number, of: number) =>
    `That is about ${f.count(tokens)} tokens, but the model reads ${f.count(of)}. Remove a file, or take a part of it.`,
  /** most: what is read, in bytes. */
  unreadable: (name: string, why: Unreadable, most: typeof MOST): string =>
    ({
      'too-long': `${name} is longer than ${f.megabytes(most.textBytes)}, more than any model here can read.`,
      'no-text': `${name} is neither a text file nor a PDF.`,
      'pdf-too-large': `${name} is larger than ${f.megabytes(most.pdfBytes)}. Save the pages you need as a PDF of their own.`,
      'pdf-too-long': `${name} has more than ${f.megabytes(most.textBytes)} of text, more than any model here can read.`,
      'pdf-scanned': `${name} has no text: its pages are pictures. A program that recognises text (OCR) can add it.`,
      'pdf-locked': `${name} is locked with a password. Save a copy without one.`,
      'pdf-broken': `${name} is damaged, or no PDF: it cannot be read.`,
      'pdf-no-reader': `${name} was not read: what reads PDFs could not be fetched. Check that the server is running, then attach it again.`,
    })[why],
};

/** What another language has to say. */
export type Strings = typeof english;
