/** Français. */
import type { ErrorKind } from '../../shared/errors';
import type { Device, DeviceChoice, LoadNote, Reason } from '../../shared/protocol';
import type { ChatGroup } from '../chats/record';
import type { PullStatus } from '../models/catalogue';
import type { Fit } from '../models/fit';
import type { NumberField } from '../settings';
import type { Strings } from './en';
import { dotted, formatsOf, shorten } from './formats';

const f = formatsOf('fr');

const deviceNames: Record<Device, string> = {
  webgpu: 'WebGPU',
  webnn: 'WebNN',
  wasm: 'WASM',
  server: 'Serveur',
};

const devicesInText: Record<Device, string> = { ...deviceNames, server: 'le serveur' };

const deviceHints: Record<DeviceChoice, string> = {
  auto: 'Le plus rapide qui fonctionne',
  webgpu: 'La carte graphique, depuis cette page',
  webnn: 'Ce que le système a pour les réseaux de neurones, depuis cette page',
  wasm: 'Le processeur, depuis cette page',
  server: 'ONNX Runtime, là d’où vient cette page',
};

const reasons: Record<Reason['code'], string> = {
  'no-webgpu': 'Ce navigateur n’a pas WebGPU.',
  'no-adapter': 'Le navigateur ne propose aucune carte graphique à cette page.',
  'software-adapter': 'Ici, c’est le processeur qui calcule les images : WASM est plus rapide.',
  'no-f16': 'La carte graphique ne calcule pas sur 16 bits.',
  'no-webnn': 'Ce navigateur n’a pas WebNN.',
  'opt-in': 'Un essai des navigateurs, utilisé seulement si on le choisit.',
  'no-simd': 'Il manque SIMD au WebAssembly de ce navigateur.',
  'too-large': 'Le modèle n’y tient pas.',
  'no-variant': 'Le modèle n’a pas de fichiers pour cet appareil.',
  'wrong-answers': 'Une question d’essai a été mal calculée.',
  'too-slow': 'Il n’était pas prêt à temps.',
  failed: 'Échec.',
  stopped: 'Le chargement du modèle a été interrompu.',
  'no-server': 'Le serveur est injoignable.',
  'no-worker': 'Le navigateur n’a pas pu démarrer le fil du modèle.',
};

const errors: Record<ErrorKind, string> = {
  network: 'Le serveur est injoignable. Vérifiez qu’il tourne encore, puis réessayez.',
  damaged:
    'Une partie d’un fichier du modèle est arrivée abîmée, trois fois de suite. Réessayez ; si cela persiste, c’est la copie du serveur qui est mauvaise.',
  manifest: 'La description du modèle est inutilisable. Son dossier sur le serveur est à réparer.',
  variant: 'Le modèle n’a pas de fichiers pour cet appareil. Choisissez-en un autre.',
  request: 'On ne peut pas demander cela au modèle. Modifiez les réglages de la réponse.',
  context:
    'Cette discussion est plus longue que ce que le modèle peut lire. Commencez-en une autre.',
  device: 'L’appareil a échoué. Réessayez, ou choisissez-en un autre.',
  canary: 'L’appareil calcule mal. Choisissez-en un autre.',
  memory: 'Le modèle ne tient pas sur cet appareil. Choisissez-en un autre.',
  timeout: 'L’appareil n’était pas prêt à temps. Réessayez, ou choisissez-en un autre.',
  server: 'Le serveur n’a pas pu répondre. Réessayez.',
  worker: 'Le fil du modèle s’est arrêté. Réessayez.',
  stopped:
    'Le chargement du modèle a été interrompu. Ce qui est arrivé est conservé, et le chargement reprendra de là.',
  busy: 'Le modèle est en cours de chargement, ici ou dans un autre onglet. Arrêtez-le d’abord.',
  adapter: 'Cet adaptateur ne convient pas au modèle présent. Choisissez-en un autre, ou aucun.',
  'no-lora':
    'Les fichiers du modèle pour cet appareil n’acceptent pas d’adaptateur. Choisissez le serveur comme appareil, ou aucun adaptateur.',
};

const notes: Record<LoadNote, string> = {
  'one-thread': 'La page n’est pas isolée : WASM n’utilise qu’un seul cœur.',
  'not-stored':
    'Le navigateur ne garde aucun fichier pour cette page : le modèle est rechargé à chaque visite.',
  repaired:
    'Une partie du modèle avait changé dans le stockage du navigateur. Elle a été rechargée.',
  'stored-manifest': 'Le serveur est injoignable. Voici le modèle d’une visite précédente.',
};

const chatGroups: Record<ChatGroup, string> = {
  pinned: 'Épinglées',
  today: 'Aujourd’hui',
  week: 'Sept derniers jours',
  older: 'Plus anciennes',
};

const settingNames: Record<NumberField, string> = {
  temperature: 'Température',
  maxTokens: 'Réponse la plus longue',
  topP: 'Top p',
  topK: 'Top k',
  minP: 'Min p',
  repetitionPenalty: 'Pénalité de répétition',
  presencePenalty: 'Pénalité de présence',
  frequencyPenalty: 'Pénalité de fréquence',
  seed: 'Graine',
};

const settingHints: Record<NumberField, string> = {
  temperature: 'À 0, toujours le mot le plus probable ; plus haut, plus de variété.',
  maxTokens: 'En tokens ; un mot en compte un ou plusieurs.',
  topP: 'Part des mots les plus probables parmi lesquels choisir.',
  topK: 'Nombre des mots les plus probables parmi lesquels choisir ; 0 pour tous.',
  minP: 'Les mots moins probables que cette part du plus probable sont écartés.',
  repetitionPenalty: 'Au-dessus de 1, les mots de la question et de la réponse reviennent moins.',
  presencePenalty: 'Au-dessus de 0, les mots de la réponse reviennent moins.',
  frequencyPenalty: 'De même, d’autant plus qu’un mot est déjà revenu.',
  seed: 'La même graine redonne la même réponse.',
};

const fits: Record<Fit, string> = {
  fits: 'Tient sur cette machine',
  tight: 'Tient tout juste',
  'too-big': 'Trop gros pour cette machine',
  unknown: 'Taille encore inconnue',
};

const pullStates: Record<PullStatus, string> = {
  asking: 'Demande de ce qu’il faut télécharger…',
  fetching: 'Téléchargement',
  done: 'Arrivé',
  failed: 'Cela n’a pas marché.',
  stopped: 'Arrêté. Ce qui est arrivé est conservé.',
};

const tokensOf = (tokens: number) => `${f.count(tokens)} ${tokens < 2 ? 'token' : 'tokens'}`;

export const french: Strings = {
  product: 'localphi',
  here: 'Ce Phi tourne dans votre navigateur. Rien ne quitte cette machine.',
  onServer: (host) =>
    host === null
      ? 'Ce Phi tourne dans le serveur de cette machine. Rien ne la quitte.'
      : `Ce Phi tourne sur ${host}. Ce que vous écrivez y va, et nulle part ailleurs.`,
  examples: [
    'Qu’est-ce que localphi ?',
    'Quels modèles Phi existe-t-il ?',
    'Qu’est-ce que WebGPU ?',
    'Est-ce que ça marche hors ligne ?',
  ],
  examplesLabel: 'Questions pour commencer',
  newChat: 'Nouvelle discussion',
  undo: 'Annuler',
  newVersion: 'Une nouvelle version de localphi est là.',
  reload: 'Recharger',
  close: 'Fermer',
  done: 'Terminé',
  cancel: 'Annuler',
  insecure:
    'les navigateurs n’exécutent de modèles que dans les pages venues par HTTPS ou de cette machine',
  keyTitle: 'Clé d’accès',
  keyWanted:
    'Ce serveur ne répond qu’avec une clé d’accès. La personne qui le gère en crée une avec « localphi keys new ».',
  key: 'Clé',
  keyLasting: 'La garder dans ce navigateur. Sinon, elle est oubliée avec cet onglet.',
  keyUse: 'Utiliser cette clé',
  keyRefused: 'Le serveur n’a pas accepté cette clé.',
  keyUnusable: 'Ce n’est pas une clé : il faut un seul mot, de 256 caractères au plus.',
  keyKept: 'Cette page a une clé d’accès au serveur.',
  keyForget: 'L’oublier',
  retry: 'Réessayer',
  send: 'Envoyer',
  stop: 'Arrêter',
  placeholder: 'Posez une question',
  you: 'Vous',
  transcript: 'Discussion',
  copy: 'Copier',
  copyCode: 'Copier le code',
  copyAnswer: 'Copier la réponse',
  copyOutcome: (outcome) => (outcome === 'copied' ? 'Copié' : 'Copie impossible'),
  code: 'code',
  codeLabel: (language) => (language === '' ? 'Code' : `Code, ${language}`),
  task: (done) => (done ? 'Fait' : 'À faire'),
  editQuestion: 'Modifier',
  askAgain: 'Redemander',
  editedQuestion: 'Votre question, modifiée',
  regenerate: 'Répondre à nouveau',
  alternative: (which, of) => `${which} / ${of}`,
  alternativesLabel: 'Versions',
  previousAlternative: 'Version précédente',
  sideBySide: 'Côte à côte',
  useVersion: 'Continuer avec celle-ci',
  nextAlternative: 'Version suivante',
  answerReady: (words) => `La réponse est là, ${f.count(words)} mots.`,

  chats: 'Discussions',
  showChats: 'Afficher les discussions',
  hideChats: 'Masquer les discussions',
  searchChats: 'Chercher dans les discussions',
  noChats: 'Vos discussions apparaîtront ici. Elles restent dans ce navigateur.',
  nothingFound: 'Aucune discussion ne contient tous ces mots.',
  chatGroup: chatGroups,
  chatTitle: 'Titre de la discussion',
  chatActions: (title) => `Actions pour « ${title} »`,
  beingAnswered: 'réponse en cours',
  rename: 'Renommer',
  pin: 'Épingler',
  unpin: 'Détacher',
  saveMarkdown: 'Enregistrer en Markdown',
  saveJson: 'Enregistrer en JSON',
  deleteChat: 'Supprimer',
  chatDeleted: (title) => `« ${title} » a été supprimée.`,
  chatGone: 'Cette discussion n’est pas (ou plus) dans ce navigateur.',
  notKept:
    'Le navigateur ne garde rien pour cette page : les discussions disparaissent quand vous partez.',
  importChats: 'Importer',
  exportAll: 'Tout exporter',
  speakers: { user: 'Vous', assistant: 'localphi' },
  imported: (added, known) => {
    const chats =
      added === 1 ? '1 discussion importée.' : `${f.count(added)} discussions importées.`;
    if (known === 0) return chats;
    return `${chats} ${known === 1 ? '1 était déjà là' : `${f.count(known)} étaient déjà là`}.`;
  },
  importFailed: (file, why) => `Rien n’a été importé de ${file} : ${why}.`,
  fileTooBig: (sizeBytes, mostBytes) =>
    `le fichier peut faire ${f.megabytes(mostBytes)} au plus, mais il en fait ${f.megabytes(sizeBytes)}`,

  settings: 'Réglages',
  settingsNote:
    'Ils valent à partir de la prochaine réponse, pour toutes les discussions de ce navigateur.',
  settingName: settingNames,
  settingHint: settingHints,
  systemPrompt: 'Consigne',
  systemPromptHint: 'Ce qui est dit au modèle avant chaque discussion',
  modelsOwn: 'comme le veut le modèle',
  moreSettings: 'Plus de réglages du choix des mots',
  outOfRange: (min, max) => `De ${f.hundredths(min)} à ${f.hundredths(max)}.`,
  adapter: 'Adaptateur',
  noAdapter: 'Aucun',
  adapterHint:
    'Change la façon dont le modèle répond. Les réponses avec un adaptateur viennent du serveur.',
  contextLength: 'Longueur du contexte',
  contextHint:
    'Ce que le modèle lit d’une discussion dans ce navigateur. Sur le serveur, c’est la longueur du serveur qui compte.',
  contextChoice: (tokens, bytes) =>
    bytes === null
      ? `${f.count(tokens)} tokens`
      : `${f.count(tokens)} tokens, jusqu’à ${f.amount(bytes)} de mémoire`,
  contextAll: (choice) => `Tout ce qu’il peut : ${choice}`,
  contextLater: 'Cela comptera quand le modèle sera rechargé.',
  loadAgain: 'Le recharger maintenant',
  stopStrings: 'Textes d’arrêt',
  stopStringsHint: 'Un par ligne. La réponse s’arrête avant le premier rencontré.',
  tooManyStops: '16 au plus, de 1024 caractères au plus.',
  reset: 'Tout réinitialiser',

  shortcuts: 'Clavier',
  singleKeys: 'Utiliser / et ? comme raccourcis',
  shortcutList: (command) => [
    [['Entrée'], 'Envoyer'],
    [['Maj', 'Entrée'], 'Nouvelle ligne'],
    [['Échap'], 'Arrêter la réponse'],
    [['↑'], 'Modifier la dernière question, depuis un champ vide'],
    [['/'], 'Aller au champ de saisie'],
    [[command, 'K'], 'Chercher dans les discussions'],
    [[command, 'Maj', 'O'], 'Nouvelle discussion'],
    [['?'], 'Cette aide'],
  ],

  licences: 'Licences',
  deviceButton: (device) => `Appareil : ${device}`,
  deviceTitle: 'Où tourne le modèle',
  deviceName: (choice) => (choice === 'auto' ? 'Automatique' : deviceNames[choice]),
  deviceHint: (choice) => deviceHints[choice],
  inUse: 'utilisé',
  reason: ({ code, detail }) =>
    code === 'failed' && detail !== undefined ? `Échec : ${shorten(detail)}` : reasons[code],
  detour: (reason, device) => `${reason} À la place : ${devicesInText[device]}.`,
  moved: (device) =>
    `L’appareil a échoué ; la réponse a été terminée avec ${devicesInText[device]}.`,
  restarted: (device) =>
    `L’appareil a échoué ; la réponse a été refaite avec ${devicesInText[device]}.`,
  note: (note) => notes[note],
  error: (kind) => errors[kind],
  loading: 'Chargement',
  preparing: 'Préparation du modèle…',
  connecting: 'Recherche du modèle…',
  unavailable: 'Indisponible',
  downloading: ({ stage, state, loadedBytes, totalBytes, bytesPerSecond, secondsLeft }) =>
    dotted([
      stage === 'waiting' ? 'Un autre onglet télécharge le modèle' : null,
      `${f.megabyteCount(loadedBytes)} sur ${f.megabytes(totalBytes)}`,
      f.share(totalBytes > 0 ? loadedBytes / totalBytes : 0),
      bytesPerSecond === null ? null : f.bytesPerSecond(bytesPerSecond),
      secondsLeft === null || secondsLeft < 1 ? null : `encore ${f.duration(secondsLeft)}`,
      { running: null, paused: 'en pause', retrying: 'en attente du serveur' }[state],
    ]),
  pause: 'Pause',
  resume: 'Continuer',
  stopLoading: 'Arrêter',
  spaceQuestion: (needsBytes, freeBytes) => {
    const most = freeBytes === null ? 'plus rien' : `au plus ${f.amount(freeBytes)} de plus`;
    const keeps = freeBytes === null ? 'ne garde' : 'garde';
    return `Le modèle a besoin de ${f.amount(needsBytes)}, mais le navigateur ${keeps} ${most} pour cette page.`;
  },
  useWithoutKeeping: 'Le charger pour cette visite',
  useServer: 'Utiliser le serveur',
  kept: 'Gardé dans ce navigateur',
  keptNothing: 'Aucun modèle n’est gardé.',
  keptModel: (name, bytes) => `${name} · ${f.amount(bytes)}`,
  keptInAll: (usageBytes, quotaBytes) =>
    `${f.amount(usageBytes)} utilisés sur ${f.amount(quotaBytes)}`,
  checkModel: 'Vérifier et réparer',
  checkModelLabel: (name) => `Vérifier et réparer les fichiers de ${name}`,
  modelChecked: (name, repaired) =>
    repaired === 0
      ? `Tout est en ordre dans ${name}.`
      : `${name} avait des fichiers abîmés. Ils sont de nouveau intacts.`,
  deleteModel: 'Supprimer',
  deleteModelLabel: (name) => `Supprimer ${name} de ce navigateur`,
  reallyDelete: 'Vraiment ?',
  modelDeleted: (name) => `${name} a été supprimé de ce navigateur.`,
  reading: (share) => `Lecture de la discussion, ${f.share(share)}`,
  thinking: 'Réflexion…',
  stopped: 'Arrêté.',
  full: 'La discussion remplit tout ce que le modèle peut lire.',
  rate: (tokensPerSecond) => `${f.rate(tokensPerSecond)} tokens/s`,
  stats: ({ device, firstTokenMs, tokens, tokensPerSecond }) =>
    dotted([
      deviceNames[device],
      `premier token après ${f.count(firstTokenMs)} ms`,
      tokensPerSecond === null ? null : `${f.rate(tokensPerSecond)} tokens/s`,
      tokensOf(tokens),
    ]),

  models: 'Modèles et appareils',
  runsOn: (model, device) =>
    ({
      webgpu: `${model} tourne dans ce navigateur, sur la carte graphique.`,
      webnn: `${model} tourne dans ce navigateur, avec ce que le système a pour les réseaux de neurones.`,
      wasm: `${model} tourne dans ce navigateur, sur le processeur.`,
      server: `${model} tourne dans le serveur, et cette page montre ce qu’il dit.`,
    })[device],
  nothingRuns: 'Aucun modèle ne tourne encore.',
  whyHere: 'Pourquoi là',
  notNeeded: 'Pas essayé : un meilleur fonctionne.',
  bestOfAll: 'Le meilleur qui fonctionne ici.',
  asChosen: 'Comme vous l’avez choisi.',
  browserCan: 'Ce que sait faire ce navigateur',
  facts: ({ gpu, cores, threads, memoryBytes, usageBytes, quotaBytes }) => [
    gpu === null
      ? 'Il ne propose aucune carte graphique à cette page.'
      : gpu.software
        ? 'C’est le processeur qui calcule les images.'
        : `Il propose une carte graphique${gpu.name === '' ? '' : ` (${gpu.name})`}.`,
    threads
      ? `Il utilise à la fois plusieurs des ${f.count(cores)} cœurs du processeur.`
      : 'Il utilise un seul cœur du processeur : la page n’est pas isolée.',
    ...(memoryBytes === null
      ? []
      : [`Cette machine a environ ${f.amount(memoryBytes)} de mémoire, ou plus.`]),
    quotaBytes === null || usageBytes === null
      ? 'Il ne dit pas combien il peut garder.'
      : `Il garde ${f.amount(usageBytes)} pour cette page, et il lui reste ${f.amount(quotaBytes - usageBytes)} de place.`,
  ],
  measure: 'Mesurer sa vitesse ici',
  modelsHere: 'Prêts à l’emploi',
  moreModels: 'Autres modèles',
  moreModelsNote:
    'Le serveur les télécharge depuis Hugging Face, et seulement quand vous appuyez sur Obtenir. Ensuite, ils marchent hors ligne.',
  noCatalogue: 'Le serveur ne peut pas donner la liste des modèles pour l’instant.',
  modelFacts: (bytes, licence, contextTokens) =>
    dotted([
      bytes === null ? null : f.amount(bytes),
      licence === '' ? null : `licence ${licence}`,
      `lit ${f.count(contextTokens)} tokens`,
    ]),
  contextCost: (tokens, bytes) =>
    `Une discussion de ${f.count(tokens)} tokens prend ${f.amount(bytes)} de mémoire en plus du modèle.`,
  fit: (fit) => fits[fit],
  runsAt: (browser) => (browser ? 'navigateur et serveur' : 'serveur seulement'),
  useModel: 'Utiliser',
  useModelLabel: (name) => `Utiliser ${name}`,
  getModel: 'Obtenir',
  getModelLabel: (name) => `Obtenir ${name}`,
  pullState: (status) => pullStates[status],
  pullProgress: (doneBytes, totalBytes, perSecond, left) =>
    dotted([
      `${f.amount(doneBytes)} sur ${f.amount(totalBytes)}`,
      f.share(totalBytes > 0 ? doneBytes / totalBytes : 0),
      perSecond > 0 ? f.bytesPerSecond(perSecond) : null,
      left === null || left < 1 ? null : `encore ${f.duration(left)}`,
    ]),

  language: 'Langue',
  languageAuto: 'Celle du navigateur',
  presets: 'Exemples',
  presetList: [
    ['Bref', 'Réponds en une ou deux phrases. Dis-le quand tu ne sais pas.'],
    [
      'Professeur',
      'Explique pas à pas, pour quelqu’un qui en entend parler pour la première fois.',
    ],
    ['Développeur', 'Tu aides à programmer. Montre d’abord le code, puis explique-le brièvement.'],
    [
      'Relecteur',
      'Corrige l’orthographe et le style de ce que j’écris. Donne seulement le texte corrigé.',
    ],
  ],
  readAloud: 'Lire à voix haute',
  stopReading: 'Arrêter la lecture',

  attach: 'Joindre des fichiers',
  dropHere: 'Déposez ici des fichiers texte ou PDF',
  attached: (name, tokens) => `${name} · environ ${f.count(tokens)} tokens`,
  beingRead: (name) => `Lecture de ${name}…`,
  removeAttachment: (name) => `Retirer ${name}`,
  budget: (tokens, of) =>
    `Avec tout ce qui a été dit, environ ${f.count(tokens)} tokens sur ${f.count(of)}`,
  tooMuch: (tokens, of) =>
    `Cela fait environ ${f.count(tokens)} tokens, mais le modèle en lit ${f.count(of)}. Retirez un fichier, ou n’en prenez qu’une partie.`,
  unreadable: (name, why, most) =>
    ({
      'too-long': `${name} dépasse ${f.megabytes(most.textBytes)}, plus que ce qu’un modèle peut lire ici.`,
      'no-text': `${name} n’est ni un fichier texte, ni un PDF.`,
      'pdf-too-large': `${name} dépasse ${f.megabytes(most.pdfBytes)}. Enregistrez les pages utiles dans un PDF à part.`,
      'pdf-too-long': `${name} contient plus de ${f.megabytes(most.textBytes)} de texte, plus que ce qu’un modèle peut lire ici.`,
      'pdf-scanned': `${name} ne contient pas de texte : ses pages sont des images. Un logiciel de reconnaissance de texte (OCR) peut l’ajouter.`,
      'pdf-locked': `${name} est protégé par un mot de passe. Enregistrez-en une copie sans mot de passe.`,
      'pdf-broken': `${name} est endommagé, ou n’est pas un PDF : le fichier est illisible.`,
      'pdf-no-reader': `${name} n’a pas été lu : le lecteur de PDF n’a pas pu être chargé. Vérifiez que le serveur fonctionne, puis joignez le fichier à nouveau.`,
    })[why],
};
