/** 简体中文。 */
import type { ErrorKind } from '../../shared/errors';
import type { Device, DeviceChoice, LoadNote, Reason } from '../../shared/protocol';
import type { ChatGroup } from '../chats/record';
import type { PullStatus } from '../models/catalogue';
import type { Fit } from '../models/fit';
import type { NumberField } from '../settings';
import type { Strings } from './en';
import { dotted, formatsOf, shorten } from './formats';

const f = formatsOf('zh-Hans');

const deviceNames: Record<Device, string> = {
  webgpu: 'WebGPU',
  webnn: 'WebNN',
  wasm: 'WASM',
  server: '服务器',
};

const deviceHints: Record<DeviceChoice, string> = {
  auto: '能用的里面最快的',
  webgpu: '显卡，由本页面使用',
  webnn: '系统的神经网络加速，由本页面使用',
  wasm: '处理器，由本页面使用',
  server: '本页面所在服务器上的 ONNX Runtime',
};

const reasons: Record<Reason['code'], string> = {
  'no-webgpu': '此浏览器没有 WebGPU。',
  'no-adapter': '浏览器没有为本页面提供显卡。',
  'software-adapter': '这里的图形由处理器计算，所以 WASM 更快。',
  'no-f16': '显卡不支持 16 位浮点运算。',
  'no-webnn': '此浏览器没有 WebNN。',
  'opt-in': '浏览器的实验功能，仅在选择时使用。',
  'no-simd': '此浏览器的 WebAssembly 缺少 SIMD。',
  'too-large': '那里容不下该模型。',
  'no-variant': '模型没有适用于此设备的文件。',
  'wrong-answers': '它把测试问题算错了。',
  'too-slow': '它没有及时准备好。',
  failed: '它出错了。',
  stopped: '已停止加载模型。',
  'no-server': '无法连接服务器。',
  'no-worker': '浏览器无法启动模型的线程。',
};

const errors: Record<ErrorKind, string> = {
  network: '无法连接服务器。请确认它仍在运行，然后重试。',
  damaged: '模型文件的一部分连续三次传来都已损坏。请重试；如果仍然如此，说明服务器上的文件已损坏。',
  manifest: '无法使用该模型的说明文件。需要修复它在服务器上的文件夹。',
  variant: '模型没有适用于此设备的文件。请选择其他设备。',
  request: '无法向模型提出这样的要求。请更改回答的设置。',
  context: '这段聊天超出了模型能读的长度。请开始新的聊天。',
  device: '设备出错了。请重试，或选择其他设备。',
  canary: '设备计算有误。请选择其他设备。',
  memory: '此设备容不下该模型。请选择其他设备。',
  timeout: '设备没有及时准备好。请重试，或选择其他设备。',
  server: '服务器无法回答。请重试。',
  worker: '模型的线程停止了。请重试。',
  stopped: '已停止加载模型。已下载的部分会保留，下次从那里继续。',
  busy: '此模型正在下载，可能是在本页面或其他标签页中。请先停止下载。',
  adapter: '此适配器不能用于这里的模型。请选择其他适配器，或不使用适配器。',
  'no-lora': '模型用于此设备的文件不支持适配器。请选择服务器作为设备，或不使用适配器。',
};

const notes: Record<LoadNote, string> = {
  'one-thread': '本页面未被隔离，所以 WASM 只使用一个核心。',
  'not-stored': '浏览器不为本页面保留文件，所以每次访问都要重新下载模型。',
  repaired: '浏览器里保存的模型有一部分发生了变化，已重新下载。',
  'stored-manifest': '无法连接服务器。这是上次访问时的模型。',
};

const chatGroups: Record<ChatGroup, string> = {
  pinned: '已置顶',
  today: '今天',
  week: '最近七天',
  older: '更早',
};

const settingNames: Record<NumberField, string> = {
  temperature: '温度',
  maxTokens: '最长回答',
  topP: 'Top p',
  topK: 'Top k',
  minP: 'Min p',
  repetitionPenalty: '重复惩罚',
  presencePenalty: '出现惩罚',
  frequencyPenalty: '频率惩罚',
  seed: '随机种子',
};

const settingHints: Record<NumberField, string> = {
  temperature: '0 总是选最可能的词；越大变化越多。',
  maxTokens: '以 token 计；一个词有一个或几个。',
  topP: '只从合计占此比例的最可能的词中选择。',
  topK: '只从这么多个最可能的词中选择；0 表示全部。',
  minP: '可能性低于最可能的词的这一比例时排除。',
  repetitionPenalty: '大于 1 时，问题和回答中的词较少重复。',
  presencePenalty: '大于 0 时，回答中出现过的词较少再出现。',
  frequencyPenalty: '同上，出现次数越多，效果越强。',
  seed: '相同的种子会得到相同的回答。',
};

const fits: Record<Fit, string> = {
  fits: '适合本机',
  tight: '勉强适合本机',
  'too-big': '对本机来说太大',
  unknown: '大小未知',
};

const pullStates: Record<PullStatus, string> = {
  asking: '正在查询要下载的内容…',
  fetching: '正在下载',
  done: '已下载',
  failed: '没有成功。',
  stopped: '已停止。已下载的部分会保留。',
};

export const simplifiedChinese: Strings = {
  product: 'localphi',
  here: '这个 Phi 在您的浏览器中运行。任何内容都不会离开本机。',
  onServer: (host) =>
    host === null
      ? '这个 Phi 在本机的服务器中运行。任何内容都不会离开本机。'
      : `这个 Phi 在 ${host} 上运行。您写的内容只会发送到那里。`,
  examples: ['localphi 是什么？', '有哪些 Phi 模型？', 'WebGPU 是什么？', '可以离线使用吗？'],
  examplesLabel: '可以这样开始提问',
  newChat: '新聊天',
  undo: '撤销',
  newVersion: 'localphi 有新版本了。',
  reload: '重新加载',
  close: '关闭',
  done: '完成',
  cancel: '取消',
  insecure: '浏览器只在通过 HTTPS 或来自本机的页面中运行模型',
  keyTitle: '访问密钥',
  keyWanted: '此服务器只在有访问密钥时回答。服务器的管理者可以用“localphi keys new”生成密钥。',
  key: '密钥',
  keyLasting: '保存在此浏览器中。否则关闭标签页后就会忘记。',
  keyUse: '使用此密钥',
  keyRefused: '服务器不接受此密钥。',
  keyUnusable: '这不是密钥：密钥应是一个最多 256 个字符的词。',
  keyKept: '本页面存有服务器的访问密钥。',
  keyForget: '忘记密钥',
  retry: '重试',
  send: '发送',
  stop: '停止',
  placeholder: '问点什么',
  you: '您',
  transcript: '聊天',
  copy: '复制',
  copyCode: '复制代码',
  copyAnswer: '复制回答',
  copyOutcome: (outcome) => (outcome === 'copied' ? '已复制' : '无法复制'),
  code: '代码',
  codeLabel: (language) => (language === '' ? '代码' : `代码，${language}`),
  task: (done) => (done ? '已完成' : '未完成'),
  editQuestion: '编辑',
  askAgain: '再问一次',
  editedQuestion: '编辑后的问题',
  regenerate: '重新回答',
  alternative: (which, of) => `${which} / ${of}`,
  alternativesLabel: '版本',
  previousAlternative: '上一个版本',
  sideBySide: '并排显示',
  useVersion: '用这个版本继续',
  nextAlternative: '下一个版本',
  answerReady: (words) => `回答好了，约 ${f.count(words)} 个词。`,

  chats: '聊天',
  showChats: '显示聊天列表',
  hideChats: '隐藏聊天列表',
  searchChats: '搜索聊天',
  noChats: '您的聊天会列在这里，只保存在此浏览器中。',
  nothingFound: '没有包含所有这些词的聊天。',
  chatGroup: chatGroups,
  chatTitle: '聊天标题',
  chatActions: (title) => `“${title}”的操作`,
  beingAnswered: '正在回答',
  rename: '重命名',
  pin: '置顶',
  unpin: '取消置顶',
  saveMarkdown: '另存为 Markdown',
  saveJson: '另存为 JSON',
  deleteChat: '删除',
  chatDeleted: (title) => `已删除“${title}”。`,
  chatGone: '此浏览器中没有（或不再有）该聊天。',
  notKept: '浏览器不为本页面保存任何内容，离开后聊天就会消失。',
  importChats: '导入',
  exportAll: '全部导出',
  speakers: { user: '您', assistant: 'localphi' },
  imported: (added, known) => {
    const chats = `已导入 ${f.count(added)} 个聊天。`;
    return known === 0 ? chats : `${chats}另有 ${f.count(known)} 个已经存在。`;
  },
  importFailed: (file, why) => `未能从 ${file} 导入任何内容：${why}。`,
  fileTooBig: (sizeBytes, mostBytes) =>
    `文件最大为 ${f.megabytes(mostBytes)}，而它有 ${f.megabytes(sizeBytes)}`,

  settings: '设置',
  settingsNote: '从下一个回答开始生效，适用于此浏览器中的所有聊天。',
  settingName: settingNames,
  settingHint: settingHints,
  systemPrompt: '系统提示',
  systemPromptHint: '每次聊天前告诉模型的话',
  modelsOwn: '由模型决定',
  moreSettings: '更多选词设置',
  outOfRange: (min, max) => `从 ${f.hundredths(min)} 到 ${f.hundredths(max)}。`,
  adapter: '适配器',
  noAdapter: '无',
  adapterHint: '改变模型回答的方式。使用适配器的回答来自服务器。',
  contextLength: '上下文长度',
  contextHint: '模型在此浏览器中能读多少聊天内容。在服务器上以服务器的长度为准。',
  contextChoice: (tokens, bytes) =>
    bytes === null
      ? `${f.count(tokens)} 个 token`
      : `${f.count(tokens)} 个 token，最多占用 ${f.amount(bytes)} 内存`,
  contextAll: (choice) => `尽其所能：${choice}`,
  contextLater: '模型重新加载后生效。',
  loadAgain: '立即重新加载',
  stopStrings: '停止文本',
  stopStringsHint: '每行一个。回答会在第一个出现之前结束。',
  tooManyStops: '最多 16 个，每个最多 1024 个字符。',
  reset: '全部重置',

  shortcuts: '键盘',
  singleKeys: '把 / 和 ? 用作快捷键',
  shortcutList: (command) => [
    [['Enter'], '发送'],
    [['Shift', 'Enter'], '换行'],
    [['Esc'], '停止回答'],
    [['↑'], '输入框为空时，编辑上一个问题'],
    [['/'], '转到输入框'],
    [[command, 'K'], '搜索聊天'],
    [[command, 'Shift', 'O'], '新聊天'],
    [['?'], '显示此帮助'],
  ],

  licences: '许可证',
  deviceButton: (device) => `设备：${device}`,
  deviceTitle: '模型在哪里运行',
  deviceName: (choice) => (choice === 'auto' ? '自动' : deviceNames[choice]),
  deviceHint: (choice) => deviceHints[choice],
  inUse: '使用中',
  reason: ({ code, detail }) =>
    code === 'failed' && detail !== undefined ? `它出错了：${shorten(detail)}` : reasons[code],
  detour: (reason, device) => `${reason}改用${deviceNames[device]}。`,
  moved: (device) => `设备出错了，回答改由${deviceNames[device]}完成。`,
  restarted: (device) => `设备出错了，回答已由${deviceNames[device]}重新生成。`,
  note: (note) => notes[note],
  error: (kind) => errors[kind],
  loading: '正在加载',
  preparing: '正在准备模型…',
  connecting: '正在寻找模型…',
  unavailable: '不可用',
  downloading: ({ stage, state, loadedBytes, totalBytes, bytesPerSecond, secondsLeft }) =>
    dotted([
      stage === 'waiting' ? '另一个标签页正在下载模型' : null,
      `${f.megabytes(loadedBytes)} / ${f.megabytes(totalBytes)}`,
      f.share(totalBytes > 0 ? loadedBytes / totalBytes : 0),
      bytesPerSecond === null ? null : f.bytesPerSecond(bytesPerSecond),
      secondsLeft === null || secondsLeft < 1 ? null : `还需 ${f.duration(secondsLeft)}`,
      { running: null, paused: '已暂停', retrying: '正在等待服务器' }[state],
    ]),
  pause: '暂停',
  resume: '继续',
  stopLoading: '停止',
  spaceQuestion: (needsBytes, freeBytes) => {
    const most =
      freeBytes === null ? '不再为本页面保留' : `最多再为本页面保留 ${f.amount(freeBytes)}`;
    return `模型需要 ${f.amount(needsBytes)}，但浏览器${most}。`;
  },
  useWithoutKeeping: '仅为本次访问下载',
  useServer: '使用服务器',
  kept: '保存在此浏览器中',
  keptNothing: '没有保存模型。',
  keptModel: (name, bytes) => `${name} · ${f.amount(bytes)}`,
  keptInAll: (usageBytes, quotaBytes) => `已用 ${f.amount(usageBytes)}，共 ${f.amount(quotaBytes)}`,
  checkModel: '检查并修复',
  checkModelLabel: (name) => `检查并修复 ${name} 的文件`,
  modelChecked: (name, repaired) =>
    repaired === 0 ? `${name} 完好无损。` : `${name} 有损坏的文件，现已修复。`,
  deleteModel: '删除',
  deleteModelLabel: (name) => `从此浏览器中删除 ${name}`,
  reallyDelete: '确定吗？',
  modelDeleted: (name) => `已从此浏览器中删除 ${name}。`,
  reading: (share) => `正在阅读聊天，${f.share(share)}`,
  thinking: '思考中…',
  stopped: '已停止。',
  full: '聊天已占满模型能读的长度。',
  rate: (tokensPerSecond) => `${f.rate(tokensPerSecond)} tokens/s`,
  stats: ({ device, firstTokenMs, tokens, tokensPerSecond }) =>
    dotted([
      deviceNames[device],
      `${f.count(firstTokenMs)} 毫秒后出现第一个 token`,
      tokensPerSecond === null ? null : `${f.rate(tokensPerSecond)} tokens/s`,
      `${f.count(tokens)} 个 token`,
    ]),

  models: '模型与设备',
  runsOn: (model, device) =>
    ({
      webgpu: `${model} 在此浏览器中运行，使用显卡。`,
      webnn: `${model} 在此浏览器中运行，使用系统的神经网络加速。`,
      wasm: `${model} 在此浏览器中运行，使用处理器。`,
      server: `${model} 在服务器中运行，本页面显示它的回答。`,
    })[device],
  nothingRuns: '还没有模型在运行。',
  whyHere: '为什么在那里运行',
  notNeeded: '没有尝试：已有更好的可用。',
  bestOfAll: '这里能用的最好的一个。',
  asChosen: '按照您的选择。',
  browserCan: '此浏览器能做什么',
  facts: ({ gpu, cores, threads, memoryBytes, usageBytes, quotaBytes }) => [
    gpu === null
      ? '它没有为本页面提供显卡。'
      : gpu.software
        ? '图形由处理器计算。'
        : `它提供显卡${gpu.name === '' ? '' : `（${gpu.name}）`}。`,
    threads
      ? `它可以同时使用处理器 ${f.count(cores)} 个核心中的多个。`
      : '它只使用处理器的一个核心：本页面未被隔离。',
    ...(memoryBytes === null ? [] : [`本机有大约 ${f.amount(memoryBytes)} 或更多的内存。`]),
    quotaBytes === null || usageBytes === null
      ? '它没有说明能保存多少内容。'
      : `它为本页面保存了 ${f.amount(usageBytes)}，还能保存 ${f.amount(quotaBytes - usageBytes)}。`,
  ],
  measure: '测量它在这里的速度',
  modelsHere: '可以直接使用',
  moreModels: '更多模型',
  moreModelsNote: '只有在您按下“获取”时，服务器才会从 Hugging Face 下载。之后可以离线使用。',
  noCatalogue: '目前无法向服务器查询模型。',
  modelFacts: (bytes, licence, contextTokens) =>
    dotted([
      bytes === null ? null : f.amount(bytes),
      licence === '' ? null : `${licence} 许可证`,
      `可读 ${f.count(contextTokens)} 个 token`,
    ]),
  contextCost: (tokens, bytes) =>
    `${f.count(tokens)} 个 token 的聊天除模型外还要占用 ${f.amount(bytes)} 内存。`,
  fit: (fit) => fits[fit],
  runsAt: (browser) => (browser ? '浏览器和服务器' : '仅服务器'),
  useModel: '使用',
  useModelLabel: (name) => `使用 ${name}`,
  getModel: '获取',
  getModelLabel: (name) => `获取 ${name}`,
  pullState: (status) => pullStates[status],
  pullProgress: (doneBytes, totalBytes, perSecond, left) =>
    dotted([
      `${f.amount(doneBytes)} / ${f.amount(totalBytes)}`,
      f.share(totalBytes > 0 ? doneBytes / totalBytes : 0),
      perSecond > 0 ? f.bytesPerSecond(perSecond) : null,
      left === null || left < 1 ? null : `还需 ${f.duration(left)}`,
    ]),

  language: '语言',
  languageAuto: '跟随浏览器',
  presets: '示例',
  presetList: [
    ['简短', '用一两句话回答。不知道时请直说。'],
    ['老师', '一步一步地解释，让第一次听说的人也能听懂。'],
    ['程序员', '你帮助编写代码。先给出代码，再简短说明。'],
    ['编辑', '修改我所写内容的错别字和文风。只给出修改后的文本。'],
  ],
  readAloud: '朗读',
  stopReading: '停止朗读',

  attach: '添加文件',
  dropHere: '把文本文件或 PDF 拖放到这里',
  attached: (name, tokens) => `${name} · 约 ${f.count(tokens)} 个 token`,
  beingRead: (name) => `正在读取 ${name}…`,
  removeAttachment: (name) => `移除 ${name}`,
  budget: (tokens, of) => `连同已说的内容，约 ${f.count(tokens)} / ${f.count(of)} 个 token`,
  tooMuch: (tokens, of) =>
    `这大约有 ${f.count(tokens)} 个 token，而模型只能读 ${f.count(of)} 个。请移除一个文件，或只用其中一部分。`,
  unreadable: (name, why, most) =>
    ({
      'too-long': `${name} 超过 ${f.megabytes(most.textBytes)}，这里没有模型能读这么多。`,
      'no-text': `${name} 既不是文本文件，也不是 PDF。`,
      'pdf-too-large': `${name} 大于 ${f.megabytes(most.pdfBytes)}。请把需要的页面另存为一个 PDF。`,
      'pdf-too-long': `${name} 的文字超过 ${f.megabytes(most.textBytes)}，这里没有模型能读这么多。`,
      'pdf-scanned': `${name} 没有文字：页面都是图片。文字识别（OCR）软件可以补上文字。`,
      'pdf-locked': `${name} 有密码保护。请另存一份没有密码的副本。`,
      'pdf-broken': `${name} 已损坏，或不是 PDF，无法读取。`,
      'pdf-no-reader': `没有读取 ${name}：无法获取 PDF 阅读组件。请确认服务器正在运行，然后重新添加。`,
    })[why],
};
