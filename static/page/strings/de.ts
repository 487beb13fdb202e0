/** Deutsch. */
import type { ErrorKind } from '../../shared/errors';
import type { Device, DeviceChoice, LoadNote, Reason } from '../../shared/protocol';
import type { ChatGroup } from '../chats/record';
import type { PullStatus } from '../models/catalogue';
import type { Fit } from '../models/fit';
import type { NumberField } from '../settings';
import type { Strings } from './en';
import { dotted, formatsOf, shorten } from './formats';

const f = formatsOf('de');

const deviceNames: Record<Device, string> = {
  webgpu: 'WebGPU',
  webnn: 'WebNN',
  wasm: 'WASM',
  server: 'Server',
};

const devicesInText: Record<Device, string> = { ...deviceNames, server: 'dem Server' };

const deviceHints: Record<DeviceChoice, string> = {
  auto: 'Das schnellste, das funktioniert',
  webgpu: 'Die Grafikkarte, von dieser Seite aus',
  webnn: 'Was das System für neuronale Netze hat, von dieser Seite aus',
  wasm: 'Der Prozessor, von dieser Seite aus',
  server: 'ONNX Runtime dort, wo diese Seite herkommt',
};

const reasons: Record<Reason['code'], string> = {
  'no-webgpu': 'Dieser Browser hat kein WebGPU.',
  'no-adapter': 'Der Browser bietet dieser Seite keine Grafikkarte an.',
  'software-adapter': 'Grafik berechnet hier der Prozessor, darum ist WASM schneller.',
  'no-f16': 'Die Grafikkarte rechnet nicht mit 16-Bit-Zahlen.',
  'no-webnn': 'Dieser Browser hat kein WebNN.',
  'opt-in': 'Ein Versuch der Browser; nur, wenn man es wählt.',
  'no-simd': 'Dem WebAssembly dieses Browsers fehlt SIMD.',
  'too-large': 'Das Modell hat dort keinen Platz.',
  'no-variant': 'Für dieses Gerät hat das Modell keine Dateien.',
  'wrong-answers': 'Es hat eine Probefrage falsch berechnet.',
  'too-slow': 'Es war nicht rechtzeitig bereit.',
  failed: 'Es hat versagt.',
  stopped: 'Das Laden des Modells wurde abgebrochen.',
  'no-server': 'Der Server ist nicht erreichbar.',
  'no-worker': 'Der Browser konnte den Thread des Modells nicht starten.',
};

const errors: Record<ErrorKind, string> = {
  network:
    'Der Server ist nicht erreichbar. Prüfen Sie, ob er noch läuft, und versuchen Sie es noch einmal.',
  damaged:
    'Ein Teil einer Modelldatei kam dreimal beschädigt an. Versuchen Sie es noch einmal; bleibt es dabei, ist die Datei auf dem Server schadhaft.',
  manifest:
    'Die Beschreibung des Modells ist unbrauchbar. Sein Ordner auf dem Server muss repariert werden.',
  variant: 'Für dieses Gerät hat das Modell keine Dateien. Wählen Sie ein anderes.',
  request: 'Das kann man von dem Modell nicht verlangen. Ändern Sie die Einstellungen der Antwort.',
  context: 'Dieser Chat ist länger, als das Modell lesen kann. Beginnen Sie einen neuen.',
  device: 'Das Gerät hat versagt. Versuchen Sie es noch einmal, oder wählen Sie ein anderes.',
  canary: 'Das Gerät rechnet falsch. Wählen Sie ein anderes.',
  memory: 'Auf diesem Gerät hat das Modell keinen Platz. Wählen Sie ein anderes.',
  timeout:
    'Das Gerät war nicht rechtzeitig bereit. Versuchen Sie es noch einmal, oder wählen Sie ein anderes.',
  server: 'Der Server konnte nicht antworten. Versuchen Sie es noch einmal.',
  worker: 'Der Thread des Modells ist stehen geblieben. Versuchen Sie es noch einmal.',
  stopped:
    'Das Laden des Modells wurde abgebrochen. Was angekommen ist, bleibt erhalten, und von dort geht es weiter.',
  busy: 'Das Modell wird gerade geladen, hier oder in einem anderen Tab. Brechen Sie das zuerst ab.',
  adapter: 'Dieser Adapter passt nicht zu dem Modell hier. Wählen Sie einen anderen oder keinen.',
  'no-lora':
    'Die Dateien des Modells für dieses Gerät nehmen keine Adapter an. Wählen Sie den Server als Gerät oder keinen Adapter.',
};

const notes: Record<LoadNote, string> = {
  'one-thread': 'Die Seite ist nicht isoliert, darum nutzt WASM nur einen Kern.',
  'not-stored':
    'Der Browser bewahrt für diese Seite keine Dateien auf, darum wird das Modell bei jedem Besuch neu geladen.',
  repaired:
    'Ein Teil des Modells hatte sich im Speicher des Browsers verändert. Er wurde neu geladen.',
  'stored-manifest': 'Der Server ist nicht erreichbar. Dies ist das Modell eines früheren Besuchs.',
};

const chatGroups: Record<ChatGroup, string> = {
  pinned: 'Angeheftet',
  today: 'Heute',
  week: 'Letzte sieben Tage',
  older: 'Älter',
};

const settingNames: Record<NumberField, string> = {
  temperature: 'Temperatur',
  maxTokens: 'Längste Antwort',
  topP: 'Top p',
  topK: 'Top k',
  minP: 'Min p',
  repetitionPenalty: 'Wiederholungsabzug',
  presencePenalty: 'Anwesenheitsabzug',
  frequencyPenalty: 'Häufigkeitsabzug',
  seed: 'Startzahl',
};

const settingHints: Record<NumberField, string> = {
  temperature: '0 nimmt immer das wahrscheinlichste Wort; mehr bringt mehr Abwechslung.',
  maxTokens: 'In Token; ein Wort hat eines oder mehrere.',
  topP: 'Anteil der wahrscheinlichsten Wörter, aus denen gewählt wird.',
  topK: 'Zahl der wahrscheinlichsten Wörter, aus denen gewählt wird; 0 heißt alle.',
  minP: 'Wörter, die unter diesem Anteil des wahrscheinlichsten liegen, scheiden aus.',
  repetitionPenalty: 'Über 1 kehren Wörter aus Frage und Antwort seltener wieder.',
  presencePenalty: 'Über 0 kehren Wörter der Antwort seltener wieder.',
  frequencyPenalty: 'Ebenso, und zwar je öfter sie schon vorkamen, desto mehr.',
  seed: 'Dieselbe Startzahl ergibt wieder dieselbe Antwort.',
};

const fits: Record<Fit, string> = {
  fits: 'Passt auf diesen Rechner',
  tight: 'Passt knapp',
  'too-big': 'Zu groß für diesen Rechner',
  unknown: 'Größe noch unbekannt',
};

const pullStates: Record<PullStatus, string> = {
  asking: 'Fragt nach, was zu laden ist …',
  fetching: 'Wird geladen',
  done: 'Ist da',
  failed: 'Das hat nicht geklappt.',
  stopped: 'Angehalten. Was angekommen ist, bleibt erhalten.',
};

export const german: Strings = {
  product: 'localphi',
  here: 'Dieses Phi läuft in Ihrem Browser. Nichts verlässt diesen Rechner.',
  onServer: (host) =>
    host === null
      ? 'Dieses Phi läuft im Server auf diesem Rechner. Nichts verlässt ihn.'
      : `Dieses Phi läuft auf ${host}. Was Sie schreiben, geht dorthin und nirgendwo sonst hin.`,
  examples: [
    'Was ist localphi?',
    'Welche Phi-Modelle gibt es?',
    'Was ist WebGPU?',
    'Geht das auch ohne Internet?',
  ],
  examplesLabel: 'Fragen für den Anfang',
  newChat: 'Neuer Chat',
  undo: 'Rückgängig',
  newVersion: 'Eine neue Version von localphi ist da.',
  reload: 'Neu laden',
  close: 'Schließen',
  done: 'Fertig',
  cancel: 'Abbrechen',
  insecure:
    'Browser führen Modelle nur in Seiten aus, die über HTTPS oder von diesem Rechner kommen',
  keyTitle: 'Zugangsschlüssel',
  keyWanted:
    'Dieser Server antwortet nur mit Zugangsschlüssel. Wer ihn betreibt, erzeugt einen mit „localphi keys new“.',
  key: 'Schlüssel',
  keyLasting: 'In diesem Browser behalten. Sonst wird er mit diesem Tab vergessen.',
  keyUse: 'Diesen Schlüssel verwenden',
  keyRefused: 'Der Server hat diesen Schlüssel nicht angenommen.',
  keyUnusable: 'Das ist kein Schlüssel: Er besteht aus einem Wort von höchstens 256 Zeichen.',
  keyKept: 'Diese Seite hat einen Zugangsschlüssel für den Server.',
  keyForget: 'Vergessen',
  retry: 'Noch einmal versuchen',
  send: 'Senden',
  stop: 'Anhalten',
  placeholder: 'Fragen Sie etwas',
  you: 'Sie',
  transcript: 'Chat',
  copy: 'Kopieren',
  copyCode: 'Code kopieren',
  copyAnswer: 'Antwort kopieren',
  copyOutcome: (outcome) => (outcome === 'copied' ? 'Kopiert' : 'Ging nicht'),
  code: 'Code',
  codeLabel: (language) => (language === '' ? 'Code' : `Code, ${language}`),
  task: (done) => (done ? 'Erledigt' : 'Offen'),
  editQuestion: 'Ändern',
  askAgain: 'Neu fragen',
  editedQuestion: 'Ihre Frage, geändert',
  regenerate: 'Neu antworten',
  alternative: (which, of) => `${which} / ${of}`,
  alternativesLabel: 'Fassungen',
  previousAlternative: 'Vorige Fassung',
  sideBySide: 'Nebeneinander',
  useVersion: 'Hiermit weiter',
  nextAlternative: 'Nächste Fassung',
  answerReady: (words) => `Die Antwort ist da, ${f.count(words)} Wörter.`,

  chats: 'Chats',
  showChats: 'Chats zeigen',
  hideChats: 'Chats verbergen',
  searchChats: 'Chats durchsuchen',
  noChats: 'Hier stehen später Ihre Chats. Sie bleiben in diesem Browser.',
  nothingFound: 'Kein Chat enthält alle diese Wörter.',
  chatGroup: chatGroups,
  chatTitle: 'Titel des Chats',
  chatActions: (title) => `Aktionen für „${title}“`,
  beingAnswered: 'wird gerade beantwortet',
  rename: 'Umbenennen',
  pin: 'Anheften',
  unpin: 'Lösen',
  saveMarkdown: 'Als Markdown sichern',
  saveJson: 'Als JSON sichern',
  deleteChat: 'Löschen',
  chatDeleted: (title) => `„${title}“ wurde gelöscht.`,
  chatGone: 'Diesen Chat gibt es in diesem Browser nicht (mehr).',
  notKept:
    'Der Browser bewahrt für diese Seite nichts auf; wenn Sie gehen, sind die Chats verloren.',
  importChats: 'Importieren',
  exportAll: 'Alle exportieren',
  speakers: { user: 'Sie', assistant: 'localphi' },
  imported: (added, known) => {
    const chats =
      added === 1 ? '1 Chat wurde importiert.' : `${f.count(added)} Chats wurden importiert.`;
    if (known === 0) return chats;
    return `${chats} ${known === 1 ? '1 war' : `${f.count(known)} waren`} schon da.`;
  },
  importFailed: (file, why) => `Aus ${file} wurde nichts importiert: ${why}.`,
  fileTooBig: (sizeBytes, mostBytes) =>
    `die Datei darf höchstens ${f.megabytes(mostBytes)} haben, hat aber ${f.megabytes(sizeBytes)}`,

  settings: 'Einstellungen',
  settingsNote: 'Sie gelten von der nächsten Antwort an, für alle Chats in diesem Browser.',
  settingName: settingNames,
  settingHint: settingHints,
  systemPrompt: 'Anweisung',
  systemPromptHint: 'Was dem Modell vor jedem Chat gesagt wird',
  modelsOwn: 'wie das Modell es will',
  moreSettings: 'Mehr zur Wahl der Wörter',
  outOfRange: (min, max) => `Von ${f.hundredths(min)} bis ${f.hundredths(max)}.`,
  adapter: 'Adapter',
  noAdapter: 'Keiner',
  adapterHint: 'Ändert, wie das Modell antwortet. Antworten mit einem Adapter kommen vom Server.',
  contextLength: 'Kontextlänge',
  contextHint:
    'Wie viel vom Chat das Modell in diesem Browser liest. Auf dem Server gilt dessen eigene Länge.',
  contextChoice: (tokens, bytes) =>
    bytes === null
      ? `${f.count(tokens)} Token`
      : `${f.count(tokens)} Token, bis zu ${f.amount(bytes)} Speicher`,
  contextAll: (choice) => `So viel es kann: ${choice}`,
  contextLater: 'Das gilt, sobald das Modell neu geladen wird.',
  loadAgain: 'Jetzt neu laden',
  stopStrings: 'Schlusszeichen',
  stopStringsHint: 'Eines je Zeile. Die Antwort endet vor dem ersten, das kommt.',
  tooManyStops: 'Höchstens 16, mit je bis zu 1024 Zeichen.',
  reset: 'Alles zurücksetzen',

  shortcuts: 'Tastatur',
  singleKeys: '/ und ? als Tastenkürzel verwenden',
  shortcutList: (command) => [
    [['Enter'], 'Senden'],
    [['Umschalt', 'Enter'], 'Neue Zeile'],
    [['Esc'], 'Antwort anhalten'],
    [['↑'], 'Letzte Frage ändern, aus einem leeren Feld'],
    [['/'], 'Zum Eingabefeld'],
    [[command === 'Ctrl' ? 'Strg' : command, 'K'], 'Chats durchsuchen'],
    [[command === 'Ctrl' ? 'Strg' : command, 'Umschalt', 'O'], 'Neuer Chat'],
    [['?'], 'Diese Hilfe'],
  ],

  licences: 'Lizenzen',
  deviceButton: (device) => `Gerät: ${device}`,
  deviceTitle: 'Wo das Modell läuft',
  deviceName: (choice) => (choice === 'auto' ? 'Automatisch' : deviceNames[choice]),
  deviceHint: (choice) => deviceHints[choice],
  inUse: 'in Gebrauch',
  reason: ({ code, detail }) =>
    code === 'failed' && detail !== undefined
      ? `Es hat versagt: ${shorten(detail)}`
      : reasons[code],
  detour: (reason, device) => `${reason} Stattdessen läuft es mit ${devicesInText[device]}.`,
  moved: (device) =>
    `Das Gerät hat versagt; die Antwort wurde mit ${devicesInText[device]} beendet.`,
  restarted: (device) =>
    `Das Gerät hat versagt; die Antwort wurde mit ${devicesInText[device]} neu gemacht.`,
  note: (note) => notes[note],
  error: (kind) => errors[kind],
  loading: 'Lädt',
  preparing: 'Das Modell wird vorbereitet …',
  connecting: 'Das Modell wird gesucht …',
  unavailable: 'Nicht verfügbar',
  downloading: ({ stage, state, loadedBytes, totalBytes, bytesPerSecond, secondsLeft }) =>
    dotted([
      stage === 'waiting' ? 'Ein anderer Tab lädt das Modell' : null,
      `${f.megabyteCount(loadedBytes)} von ${f.megabytes(totalBytes)}`,
      f.share(totalBytes > 0 ? loadedBytes / totalBytes : 0),
      bytesPerSecond === null ? null : f.bytesPerSecond(bytesPerSecond),
      secondsLeft === null || secondsLeft < 1 ? null : `noch ${f.duration(secondsLeft)}`,
      { running: null, paused: 'angehalten', retrying: 'wartet auf den Server' }[state],
    ]),
  pause: 'Anhalten',
  resume: 'Weiter',
  stopLoading: 'Abbrechen',
  spaceQuestion: (needsBytes, freeBytes) => {
    const most = freeBytes === null ? 'nichts mehr' : `höchstens noch ${f.amount(freeBytes)}`;
    return `Das Modell braucht ${f.amount(needsBytes)}, aber der Browser bewahrt für diese Seite ${most} auf.`;
  },
  useWithoutKeeping: 'Für diesen Besuch laden',
  useServer: 'Den Server nehmen',
  kept: 'In diesem Browser aufbewahrt',
  keptNothing: 'Kein Modell wird aufbewahrt.',
  keptModel: (name, bytes) => `${name} · ${f.amount(bytes)}`,
  keptInAll: (usageBytes, quotaBytes) =>
    `${f.amount(usageBytes)} von ${f.amount(quotaBytes)} belegt`,
  checkModel: 'Prüfen und reparieren',
  checkModelLabel: (name) => `Dateien von ${name} prüfen und reparieren`,
  modelChecked: (name, repaired) =>
    repaired === 0
      ? `An ${name} ist alles, wie es sein soll.`
      : `${name} hatte beschädigte Dateien. Sie sind wieder heil.`,
  deleteModel: 'Löschen',
  deleteModelLabel: (name) => `${name} aus diesem Browser löschen`,
  reallyDelete: 'Wirklich?',
  modelDeleted: (name) => `${name} wurde aus diesem Browser gelöscht.`,
  reading: (share) => `Liest den Chat, ${f.share(share)}`,
  thinking: 'Denkt nach …',
  stopped: 'Angehalten.',
  full: 'Der Chat füllt alles, was das Modell lesen kann.',
  rate: (tokensPerSecond) => `${f.rate(tokensPerSecond)} Token/s`,
  stats: ({ device, firstTokenMs, tokens, tokensPerSecond }) =>
    dotted([
      deviceNames[device],
      `erstes Token nach ${f.count(firstTokenMs)} ms`,
      tokensPerSecond === null ? null : `${f.rate(tokensPerSecond)} Token/s`,
      `${f.count(tokens)} Token`,
    ]),

  models: 'Modelle und Geräte',
  runsOn: (model, device) =>
    ({
      webgpu: `${model} läuft in diesem Browser, auf der Grafikkarte.`,
      webnn: `${model} läuft in diesem Browser, mit dem, was das System für neuronale Netze hat.`,
      wasm: `${model} läuft in diesem Browser, auf dem Prozessor.`,
      server: `${model} läuft im Server, und diese Seite zeigt, was es sagt.`,
    })[device],
  nothingRuns: 'Noch läuft kein Modell.',
  whyHere: 'Warum dort',
  notNeeded: 'Nicht versucht: ein besseres funktioniert.',
  bestOfAll: 'Das Beste, was hier funktioniert.',
  asChosen: 'Wie Sie es gewählt haben.',
  browserCan: 'Was dieser Browser kann',
  facts: ({ gpu, cores, threads, memoryBytes, usageBytes, quotaBytes }) => [
    gpu === null
      ? 'Er bietet dieser Seite keine Grafikkarte an.'
      : gpu.software
        ? 'Grafik berechnet der Prozessor.'
        : `Er bietet eine Grafikkarte an${gpu.name === '' ? '' : ` (${gpu.name})`}.`,
    threads
      ? `Er nutzt mehrere der ${f.count(cores)} Kerne des Prozessors zugleich.`
      : 'Er nutzt einen Kern des Prozessors: Die Seite ist nicht isoliert.',
    ...(memoryBytes === null
      ? []
      : [`Dieser Rechner hat etwa ${f.amount(memoryBytes)} Arbeitsspeicher oder mehr.`]),
    quotaBytes === null || usageBytes === null
      ? 'Er sagt nicht, wie viel er aufbewahren kann.'
      : `Er bewahrt ${f.amount(usageBytes)} für diese Seite auf und hat Platz für weitere ${f.amount(quotaBytes - usageBytes)}.`,
  ],
  measure: 'Messen, wie schnell es hier ist',
  modelsHere: 'Gleich verwendbar',
  moreModels: 'Weitere Modelle',
  moreModelsNote:
    'Der Server holt sie von Hugging Face, und nur, wenn Sie auf Holen drücken. Danach gehen sie ohne Internet.',
  noCatalogue: 'Der Server kann gerade nicht nach Modellen gefragt werden.',
  modelFacts: (bytes, licence, contextTokens) =>
    dotted([
      bytes === null ? null : f.amount(bytes),
      licence === '' ? null : `Lizenz ${licence}`,
      `liest ${f.count(contextTokens)} Token`,
    ]),
  contextCost: (tokens, bytes) =>
    `Ein Chat von ${f.count(tokens)} Token belegt neben dem Modell ${f.amount(bytes)} Arbeitsspeicher.`,
  fit: (fit) => fits[fit],
  runsAt: (browser) => (browser ? 'Browser und Server' : 'nur Server'),
  useModel: 'Verwenden',
  useModelLabel: (name) => `${name} verwenden`,
  getModel: 'Holen',
  getModelLabel: (name) => `${name} holen`,
  pullState: (status) => pullStates[status],
  pullProgress: (doneBytes, totalBytes, perSecond, left) =>
    dotted([
      `${f.amount(doneBytes)} von ${f.amount(totalBytes)}`,
      f.share(totalBytes > 0 ? doneBytes / totalBytes : 0),
      perSecond > 0 ? f.bytesPerSecond(perSecond) : null,
      left === null || left < 1 ? null : `noch ${f.duration(left)}`,
    ]),

  language: 'Sprache',
  languageAuto: 'Die des Browsers',
  presets: 'Beispiele',
  presetList: [
    ['Kurz', 'Antworte in ein oder zwei Sätzen. Sag es, wenn du etwas nicht weißt.'],
    ['Lehrer', 'Erkläre Schritt für Schritt, für jemanden, der zum ersten Mal davon hört.'],
    ['Programmierer', 'Du hilfst bei Code. Zeig erst den Code, dann erkläre ihn kurz.'],
    [
      'Lektor',
      'Verbessere Rechtschreibung und Stil meiner Texte. Gib nur den verbesserten Text aus.',
    ],
  ],
  readAloud: 'Vorlesen',
  stopReading: 'Nicht weiter vorlesen',

  attach: 'Dateien anhängen',
  dropHere: 'Textdateien oder PDFs hier ablegen',
  attached: (name, tokens) => `${name} · etwa ${f.count(tokens)} Token`,
  beingRead: (name) => `${name} wird gelesen …`,
  removeAttachment: (name) => `${name} entfernen`,
  budget: (tokens, of) =>
    `Mit allem bisher Gesagten etwa ${f.count(tokens)} von ${f.count(of)} Token`,
  tooMuch: (tokens, of) =>
    `Das sind etwa ${f.count(tokens)} Token, das Modell liest aber nur ${f.count(of)}. Entfernen Sie eine Datei, oder nehmen Sie einen Teil davon.`,
  unreadable: (name, why, most) =>
    ({
      'too-long': `${name} ist länger als ${f.megabytes(most.textBytes)}; das kann hier kein Modell lesen.`,
      'no-text': `${name} ist weder eine Textdatei noch ein PDF.`,
      'pdf-too-large': `${name} ist größer als ${f.megabytes(most.pdfBytes)}. Speichern Sie die nötigen Seiten als eigenes PDF.`,
      'pdf-too-long': `${name} enthält mehr als ${f.megabytes(most.textBytes)} Text; das kann hier kein Modell lesen.`,
      'pdf-scanned': `${name} enthält keinen Text: Die Seiten sind Bilder. Ein Programm zur Texterkennung (OCR) kann ihn ergänzen.`,
      'pdf-locked': `${name} ist mit einem Passwort gesperrt. Speichern Sie eine Kopie ohne Passwort.`,
      'pdf-broken': `${name} ist beschädigt oder kein PDF: Die Datei lässt sich nicht lesen.`,
      'pdf-no-reader': `${name} wurde nicht gelesen: Der PDF-Leser ließ sich nicht laden. Prüfen Sie, ob der Server läuft, und hängen Sie die Datei dann noch einmal an.`,
    })[why],
};
