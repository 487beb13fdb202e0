/** 繁體中文。 */
import type { ErrorKind } from '../../shared/errors';
import type { Device, DeviceChoice, LoadNote, Reason } from '../../shared/protocol';
import type { ChatGroup } from '../chats/record';
import type { PullStatus } from '../models/catalogue';
import type { Fit } from '../models/fit';
import type { NumberField } from '../settings';
import type { Strings } from './en';
import { dotted, formatsOf, shorten } from './formats';

const f = formatsOf('zh-Hant');

const deviceNames: Record<Device, string> = {
  webgpu: 'WebGPU',
  webnn: 'WebNN',
  wasm: 'WASM',
  server: '伺服器',
};

const deviceHints: Record<DeviceChoice, string> = {
  auto: '能用的裡面最快的',
  webgpu: '顯示卡，由本頁面使用',
  webnn: '系統的類神經網路加速，由本頁面使用',
  wasm: '處理器，由本頁面使用',
  server: '本頁面所在伺服器上的 ONNX Runtime',
};

const reasons: Record<Reason['code'], string> = {
  'no-webgpu': '此瀏覽器沒有 WebGPU。',
  'no-adapter': '瀏覽器沒有為本頁面提供顯示卡。',
  'software-adapter': '這裡的圖形由處理器計算，所以 WASM 更快。',
  'no-f16': '顯示卡不支援 16 位元浮點運算。',
  'no-webnn': '此瀏覽器沒有 WebNN。',
  'opt-in': '瀏覽器的實驗功能，僅在選擇時使用。',
  'no-simd': '此瀏覽器的 WebAssembly 缺少 SIMD。',
  'too-large': '那裡容不下該模型。',
  'no-variant': '模型沒有適用於此裝置的檔案。',
  'wrong-answers': '它把測試問題算錯了。',
  'too-slow': '它沒有及時準備好。',
  failed: '它出錯了。',
  stopped: '已停止載入模型。',
  'no-server': '無法連線到伺服器。',
  'no-worker': '瀏覽器無法啟動模型的執行緒。',
};

const errors: Record<ErrorKind, string> = {
  network: '無法連線到伺服器。請確認它仍在執行，然後重試。',
  damaged: '模型檔案的一部分連續三次傳來都已損壞。請重試；如果仍然如此，說明伺服器上的檔案已損壞。',
  manifest: '無法使用該模型的描述檔。需要修復它在伺服器上的資料夾。',
  variant: '模型沒有適用於此裝置的檔案。請選擇其他裝置。',
  request: '無法向模型提出這樣的要求。請更改回答的設定。',
  context: '這段聊天超出了模型能讀的長度。請開始新的聊天。',
  device: '裝置出錯了。請重試，或選擇其他裝置。',
  canary: '裝置計算有誤。請選擇其他裝置。',
  memory: '此裝置容不下該模型。請選擇其他裝置。',
  timeout: '裝置沒有及時準備好。請重試，或選擇其他裝置。',
  server: '伺服器無法回答。請重試。',
  worker: '模型的執行緒停止了。請重試。',
  stopped: '已停止載入模型。已下載的部分會保留，下次從那裡繼續。',
  busy: '此模型正在下載，可能是在本頁面或其他分頁中。請先停止下載。',
  adapter: '此適配器不能用於這裡的模型。請選擇其他適配器，或不使用適配器。',
  'no-lora': '模型用於此裝置的檔案不支援適配器。請選擇伺服器作為裝置，或不使用適配器。',
};

const notes: Record<LoadNote, string> = {
  'one-thread': '本頁面未被隔離，所以 WASM 只使用一個核心。',
  'not-stored': '瀏覽器不為本頁面保留檔案，所以每次造訪都要重新下載模型。',
  repaired: '瀏覽器裡儲存的模型有一部分發生了變化，已重新下載。',
  'stored-manifest': '無法連線到伺服器。這是上次造訪時的模型。',
};

const chatGroups: Record<ChatGroup, string> = {
  pinned: '已釘選',
  today: '今天',
  week: '最近七天',
  older: '更早',
};

const settingNames: Record<NumberField, string> = {
  temperature: '溫度',
  maxTokens: '最長回答',
  topP: 'Top p',
  topK: 'Top k',
  minP: 'Min p',
  repetitionPenalty: '重複懲罰',
  presencePenalty: '出現懲罰',
  frequencyPenalty: '頻率懲罰',
  seed: '隨機種子',
};

const settingHints: Record<NumberField, string> = {
  temperature: '0 總是選最可能的詞；越大變化越多。',
  maxTokens: '以 token 計；一個詞有一個或幾個。',
  topP: '只從合計佔此比例的最可能的詞中選擇。',
  topK: '只從這麼多個最可能的詞中選擇；0 表示全部。',
  minP: '可能性低於最可能的詞的這一比例時排除。',
  repetitionPenalty: '大於 1 時，問題和回答中的詞較少重複。',
  presencePenalty: '大於 0 時，回答中出現過的詞較少再出現。',
  frequencyPenalty: '同上，出現次數越多，效果越強。',
  seed: '相同的種子會得到相同的回答。',
};

const fits: Record<Fit, string> = {
  fits: '適合本機',
  tight: '勉強適合本機',
  'too-big': '對本機來說太大',
  unknown: '大小未知',
};

const pullStates: Record<PullStatus, string> = {
  asking: '正在查詢要下載的內容…',
  fetching: '正在下載',
  done: '已下載',
  failed: '沒有成功。',
  stopped: '已停止。已下載的部分會保留。',
};

export const traditionalChinese: Strings = {
  product: 'localphi',
  here: '這個 Phi 在您的瀏覽器中執行。任何內容都不會離開本機。',
  onServer: (host) =>
    host === null
      ? '這個 Phi 在本機的伺服器中執行。任何內容都不會離開本機。'
      : `這個 Phi 在 ${host} 上執行。您寫的內容只會傳送到那裡。`,
  examples: ['localphi 是什麼？', '有哪些 Phi 模型？', 'WebGPU 是什麼？', '可以離線使用嗎？'],
  examplesLabel: '可以這樣開始提問',
  newChat: '新聊天',
  undo: '復原',
  newVersion: 'localphi 有新版本了。',
  reload: '重新載入',
  close: '關閉',
  done: '完成',
  cancel: '取消',
  insecure: '瀏覽器只在透過 HTTPS 或來自本機的頁面中執行模型',
  keyTitle: '存取金鑰',
  keyWanted: '此伺服器只在有存取金鑰時回答。伺服器的管理者可以用「localphi keys new」產生金鑰。',
  key: '金鑰',
  keyLasting: '儲存在此瀏覽器中。否則關閉分頁後就會忘記。',
  keyUse: '使用此金鑰',
  keyRefused: '伺服器不接受此金鑰。',
  keyUnusable: '這不是金鑰：金鑰應是一個最多 256 個字元的詞。',
  keyKept: '本頁面存有伺服器的存取金鑰。',
  keyForget: '忘記金鑰',
  retry: '重試',
  send: '傳送',
  stop: '停止',
  placeholder: '問點什麼',
  you: '您',
  transcript: '聊天',
  copy: '複製',
  copyCode: '複製程式碼',
  copyAnswer: '複製回答',
  copyOutcome: (outcome) => (outcome === 'copied' ? '已複製' : '無法複製'),
  code: '程式碼',
  codeLabel: (language) => (language === '' ? '程式碼' : `程式碼，${language}`),
  task: (done) => (done ? '已完成' : '未完成'),
  editQuestion: '編輯',
  askAgain: '再問一次',
  editedQuestion: '編輯後的問題',
  regenerate: '重新回答',
  alternative: (which, of) => `${which} / ${of}`,
  alternativesLabel: '版本',
  previousAlternative: '上一個版本',
  sideBySide: '並排顯示',
  useVersion: '用這個版本繼續',
  nextAlternative: '下一個版本',
  answerReady: (words) => `回答好了，約 ${f.count(words)} 個詞。`,

  chats: '聊天',
  showChats: '顯示聊天清單',
  hideChats: '隱藏聊天清單',
  searchChats: '搜尋聊天',
  noChats: '您的聊天會列在這裡，只儲存在此瀏覽器中。',
  nothingFound: '沒有包含所有這些詞的聊天。',
  chatGroup: chatGroups,
  chatTitle: '聊天標題',
  chatActions: (title) => `「${title}」的操作`,
  beingAnswered: '正在回答',
  rename: '重新命名',
  pin: '釘選',
  unpin: '取消釘選',
  saveMarkdown: '另存為 Markdown',
  saveJson: '另存為 JSON',
  deleteChat: '刪除',
  chatDeleted: (title) => `已刪除「${title}」。`,
  chatGone: '此瀏覽器中沒有（或不再有）該聊天。',
  notKept: '瀏覽器不為本頁面儲存任何內容，離開後聊天就會消失。',
  importChats: '匯入',
  exportAll: '全部匯出',
  speakers: { user: '您', assistant: 'localphi' },
  imported: (added, known) => {
    const chats = `已匯入 ${f.count(added)} 個聊天。`;
    return known === 0 ? chats : `${chats}另有 ${f.count(known)} 個已經存在。`;
  },
  importFailed: (file, why) => `未能從 ${file} 匯入任何內容：${why}。`,
  fileTooBig: (sizeBytes, mostBytes) =>
    `檔案最大為 ${f.megabytes(mostBytes)}，而它有 ${f.megabytes(sizeBytes)}`,

  settings: '設定',
  settingsNote: '從下一個回答開始生效，適用於此瀏覽器中的所有聊天。',
  settingName: settingNames,
  settingHint: settingHints,
  systemPrompt: '系統提示',
  systemPromptHint: '每次聊天前告訴模型的話',
  modelsOwn: '由模型決定',
  moreSettings: '更多選詞設定',
  outOfRange: (min, max) => `從 ${f.hundredths(min)} 到 ${f.hundredths(max)}。`,
  adapter: '適配器',
  noAdapter: '無',
  adapterHint: '改變模型回答的方式。使用適配器的回答來自伺服器。',
  contextLength: '上下文長度',
  contextHint: '模型在此瀏覽器中能讀多少聊天內容。在伺服器上以伺服器的長度為準。',
  contextChoice: (tokens, bytes) =>
    bytes === null
      ? `${f.count(tokens)} 個 token`
      : `${f.count(tokens)} 個 token，最多占用 ${f.amount(bytes)} 記憶體`,
  contextAll: (choice) => `盡其所能：${choice}`,
  contextLater: '模型重新載入後生效。',
  loadAgain: '立即重新載入',
  stopStrings: '停止文字',
  stopStringsHint: '每行一個。回答會在第一個出現之前結束。',
  tooManyStops: '最多 16 個，每個最多 1024 個字元。',
  reset: '全部重設',

  shortcuts: '鍵盤',
  singleKeys: '把 / 和 ? 用作快捷鍵',
  shortcutList: (command) => [
    [['Enter'], '傳送'],
    [['Shift', 'Enter'], '換行'],
    [['Esc'], '停止回答'],
    [['↑'], '輸入欄為空時，編輯上一個問題'],
    [['/'], '轉到輸入欄'],
    [[command, 'K'], '搜尋聊天'],
    [[command, 'Shift', 'O'], '新聊天'],
    [['?'], '顯示此說明'],
  ],

  licences: '授權條款',
  deviceButton: (device) => `裝置：${device}`,
  deviceTitle: '模型在哪裡執行',
  deviceName: (choice) => (choice === 'auto' ? '自動' : deviceNames[choice]),
  deviceHint: (choice) => deviceHints[choice],
  inUse: '使用中',
  reason: ({ code, detail }) =>
    code === 'failed' && detail !== undefined ? `它出錯了：${shorten(detail)}` : reasons[code],
  detour: (reason, device) => `${reason}改用${deviceNames[device]}。`,
  moved: (device) => `裝置出錯了，回答改由${deviceNames[device]}完成。`,
  restarted: (device) => `裝置出錯了，回答已由${deviceNames[device]}重新產生。`,
  note: (note) => notes[note],
  error: (kind) => errors[kind],
  loading: '正在載入',
  preparing: '正在準備模型…',
  connecting: '正在尋找模型…',
  unavailable: '不可用',
  downloading: ({ stage, state, loadedBytes, totalBytes, bytesPerSecond, secondsLeft }) =>
    dotted([
      stage === 'waiting' ? '另一個分頁正在下載模型' : null,
      `${f.megabytes(loadedBytes)} / ${f.megabytes(totalBytes)}`,
      f.share(totalBytes > 0 ? loadedBytes / totalBytes : 0),
      bytesPerSecond === null ? null : f.bytesPerSecond(bytesPerSecond),
      secondsLeft === null || secondsLeft < 1 ? null : `還需 ${f.duration(secondsLeft)}`,
      { running: null, paused: '已暫停', retrying: '正在等待伺服器' }[state],
    ]),
  pause: '暫停',
  resume: '繼續',
  stopLoading: '停止',
  spaceQuestion: (needsBytes, freeBytes) => {
    const most =
      freeBytes === null ? '不再為本頁面保留' : `最多再為本頁面保留 ${f.amount(freeBytes)}`;
    return `模型需要 ${f.amount(needsBytes)}，但瀏覽器${most}。`;
  },
  useWithoutKeeping: '僅為本次造訪下載',
  useServer: '使用伺服器',
  kept: '儲存在此瀏覽器中',
  keptNothing: '沒有儲存模型。',
  keptModel: (name, bytes) => `${name} · ${f.amount(bytes)}`,
  keptInAll: (usageBytes, quotaBytes) => `已用 ${f.amount(usageBytes)}，共 ${f.amount(quotaBytes)}`,
  checkModel: '檢查並修復',
  checkModelLabel: (name) => `檢查並修復 ${name} 的檔案`,
  modelChecked: (name, repaired) =>
    repaired === 0 ? `${name} 完好無損。` : `${name} 有損壞的檔案，現已修復。`,
  deleteModel: '刪除',
  deleteModelLabel: (name) => `從此瀏覽器中刪除 ${name}`,
  reallyDelete: '確定嗎？',
  modelDeleted: (name) => `已從此瀏覽器中刪除 ${name}。`,
  reading: (share) => `正在閱讀聊天，${f.share(share)}`,
  thinking: '思考中…',
  stopped: '已停止。',
  full: '聊天已佔滿模型能讀的長度。',
  rate: (tokensPerSecond) => `${f.rate(tokensPerSecond)} tokens/s`,
  stats: ({ device, firstTokenMs, tokens, tokensPerSecond }) =>
    dotted([
      deviceNames[device],
      `${f.count(firstTokenMs)} 毫秒後出現第一個 token`,
      tokensPerSecond === null ? null : `${f.rate(tokensPerSecond)} tokens/s`,
      `${f.count(tokens)} 個 token`,
    ]),

  models: '模型與裝置',
  runsOn: (model, device) =>
    ({
      webgpu: `${model} 在此瀏覽器中執行，使用顯示卡。`,
      webnn: `${model} 在此瀏覽器中執行，使用系統的類神經網路加速。`,
      wasm: `${model} 在此瀏覽器中執行，使用處理器。`,
      server: `${model} 在伺服器中執行，本頁面顯示它的回答。`,
    })[device],
  nothingRuns: '還沒有模型在執行。',
  whyHere: '為什麼在那裡執行',
  notNeeded: '沒有嘗試：已有更好的可用。',
  bestOfAll: '這裡能用的最好的一個。',
  asChosen: '按照您的選擇。',
  browserCan: '此瀏覽器能做什麼',
  facts: ({ gpu, cores, threads, memoryBytes, usageBytes, quotaBytes }) => [
    gpu === null
      ? '它沒有為本頁面提供顯示卡。'
      : gpu.software
        ? '圖形由處理器計算。'
        : `它提供顯示卡${gpu.name === '' ? '' : `（${gpu.name}）`}。`,
    threads
      ? `它可以同時使用處理器 ${f.count(cores)} 個核心中的多個。`
      : '它只使用處理器的一個核心：本頁面未被隔離。',
    ...(memoryBytes === null ? [] : [`本機有大約 ${f.amount(memoryBytes)} 或更多的記憶體。`]),
    quotaBytes === null || usageBytes === null
      ? '它沒有說明能儲存多少內容。'
      : `它為本頁面儲存了 ${f.amount(usageBytes)}，還能儲存 ${f.amount(quotaBytes - usageBytes)}。`,
  ],
  measure: '測量它在這裡的速度',
  modelsHere: '可以直接使用',
  moreModels: '更多模型',
  moreModelsNote: '只有在您按下「取得」時，伺服器才會從 Hugging Face 下載。之後可以離線使用。',
  noCatalogue: '目前無法向伺服器查詢模型。',
  modelFacts: (bytes, licence, contextTokens) =>
    dotted([
      bytes === null ? null : f.amount(bytes),
      licence === '' ? null : `${licence} 授權`,
      `可讀 ${f.count(contextTokens)} 個 token`,
    ]),
  contextCost: (tokens, bytes) =>
    `${f.count(tokens)} 個 token 的聊天除模型外還要佔用 ${f.amount(bytes)} 記憶體。`,
  fit: (fit) => fits[fit],
  runsAt: (browser) => (browser ? '瀏覽器和伺服器' : '僅伺服器'),
  useModel: '使用',
  useModelLabel: (name) => `使用 ${name}`,
  getModel: '取得',
  getModelLabel: (name) => `取得 ${name}`,
  pullState: (status) => pullStates[status],
  pullProgress: (doneBytes, totalBytes, perSecond, left) =>
    dotted([
      `${f.amount(doneBytes)} / ${f.amount(totalBytes)}`,
      f.share(totalBytes > 0 ? doneBytes / totalBytes : 0),
      perSecond > 0 ? f.bytesPerSecond(perSecond) : null,
      left === null || left < 1 ? null : `還需 ${f.duration(left)}`,
    ]),

  language: '語言',
  languageAuto: '跟隨瀏覽器',
  presets: '範例',
  presetList: [
    ['簡短', '用一兩句話回答。不知道時請直說。'],
    ['老師', '一步一步地解釋，讓第一次聽說的人也能聽懂。'],
    ['程式設計師', '你幫助編寫程式碼。先給出程式碼，再簡短說明。'],
    ['編輯', '修改我所寫內容的錯別字和文風。只給出修改後的文字。'],
  ],
  readAloud: '朗讀',
  stopReading: '停止朗讀',

  attach: '附加檔案',
  dropHere: '把文字檔案或 PDF 拖放到這裡',
  attached: (name, tokens) => `${name} · 約 ${f.count(tokens)} 個 token`,
  beingRead: (name) => `正在讀取 ${name}…`,
  removeAttachment: (name) => `移除 ${name}`,
  budget: (tokens, of) => `連同已說的內容，約 ${f.count(tokens)} / ${f.count(of)} 個 token`,
  tooMuch: (tokens, of) =>
    `這大約有 ${f.count(tokens)} 個 token，而模型只能讀 ${f.count(of)} 個。請移除一個檔案，或只用其中一部分。`,
  unreadable: (name, why, most) =>
    ({
      'too-long': `${name} 超過 ${f.megabytes(most.textBytes)}，這裡沒有模型能讀這麼多。`,
      'no-text': `${name} 既不是文字檔案，也不是 PDF。`,
      'pdf-too-large': `${name} 大於 ${f.megabytes(most.pdfBytes)}。請把需要的頁面另存為一個 PDF。`,
      'pdf-too-long': `${name} 的文字超過 ${f.megabytes(most.textBytes)}，這裡沒有模型能讀這麼多。`,
      'pdf-scanned': `${name} 沒有文字：頁面都是圖片。文字辨識（OCR）軟體可以補上文字。`,
      'pdf-locked': `${name} 有密碼保護。請另存一份沒有密碼的副本。`,
      'pdf-broken': `${name} 已損毀，或不是 PDF，無法讀取。`,
      'pdf-no-reader': `沒有讀取 ${name}：無法取得 PDF 閱讀元件。請確認伺服器正在執行，然後重新附加。`,
    })[why],
};
