/** What the bench page says, in the language of the page. Reports for others (Markdown, JSON) are English. */
import { preferences } from '../page/preferences';
import { formatsOf } from '../page/strings/formats';
import { bestLanguage } from '../page/strings/languages';
import type { Language } from '../page/strings/languages';
import type { Phase } from './run';

export interface BenchStrings {
  readonly title: string;
  readonly intro: string;
  readonly device: string;
  readonly rounds: string;
  readonly tokens: string;
  readonly run: string;
  readonly noModel: string;
  readonly failed: string;
  readonly phases: Readonly<Record<Phase, string>>;
  /** Of the table, after the one of names. */
  readonly columns: readonly string[];
  readonly cold: string;
  readonly warm: string;
  readonly heap: string;
  readonly second: string;
  readonly slowdown: string;
  readonly equal: string;
  readonly copyMarkdown: string;
  readonly copyJson: string;
  readonly copied: string;
  readonly copyFailed: string;
  readonly earlier: string;
  readonly plot: string;
  readonly forget: string;
  readonly back: string;
}

export const tables: Readonly<Record<Language, BenchStrings>> = {
  en: {
    title: 'How fast is Phi here?',
    intro:
      'The model answers prompts of several lengths in this browser. Loading “cold” deletes what the browser keeps of the model and fetches it again. Results stay in this browser; nothing is sent anywhere. Close other programs and tabs first.',
    device: 'Device',
    rounds: 'Rounds',
    tokens: 'Tokens an answer',
    run: 'Measure',
    noModel: 'the server has no model',
    failed: 'It could not be measured:',
    phases: {
      cold: 'Loading, cold …',
      warm: 'Loading from the browser’s storage …',
      peers: 'Warming up …',
      answers: 'Answering …',
      server: 'Comparing with the server …',
    },
    columns: ['Prompt tokens', 'First token', 'Prefill tokens/s', 'Decode tokens/s'],
    cold: 'Load, cold',
    warm: 'Load, from the browser’s storage',
    heap: 'JS heap, loaded',
    second: 'First token of a second turn',
    slowdown: 'Decode, longest prompt by shortest',
    equal: 'Tokens equal to the server’s',
    copyMarkdown: 'Copy as Markdown',
    copyJson: 'Copy as JSON',
    copied: 'Copied',
    copyFailed: 'Could not copy',
    earlier: 'Runs in this browser: decode tokens/s',
    plot: 'Decode tokens per second, run by run',
    forget: 'Forget all runs',
    back: 'To the chat',
  },
  de: {
    title: 'Wie schnell ist Phi hier?',
    intro:
      'Das Modell beantwortet verschieden lange Prompts in diesem Browser. Beim „kalten“ Laden wird gelöscht, was der Browser vom Modell aufbewahrt, und neu geholt. Die Ergebnisse bleiben in diesem Browser, nichts wird verschickt. Schließen Sie vorher andere Programme und Tabs.',
    device: 'Gerät',
    rounds: 'Runden',
    tokens: 'Token je Antwort',
    run: 'Messen',
    noModel: 'der Server hat kein Modell',
    failed: 'Die Messung ist nicht gelungen:',
    phases: {
      cold: 'Kaltes Laden …',
      warm: 'Laden aus dem Speicher des Browsers …',
      peers: 'Aufwärmen …',
      answers: 'Antworten …',
      server: 'Vergleich mit dem Server …',
    },
    columns: ['Token im Prompt', 'Erstes Token', 'Lesen, Token/s', 'Schreiben, Token/s'],
    cold: 'Laden, kalt',
    warm: 'Laden aus dem Speicher des Browsers',
    heap: 'JS-Heap nach dem Laden',
    second: 'Erstes Token der zweiten Frage',
    slowdown: 'Schreiben, längster Prompt durch kürzesten',
    equal: 'Gleiche Token wie der Server',
    copyMarkdown: 'Als Markdown kopieren',
    copyJson: 'Als JSON kopieren',
    copied: 'Kopiert',
    copyFailed: 'Kopieren nicht möglich',
    earlier: 'Messungen in diesem Browser: geschriebene Token/s',
    plot: 'Geschriebene Token je Sekunde, Messung für Messung',
    forget: 'Alle Messungen vergessen',
    back: 'Zum Chat',
  },
  fr: {
    title: 'À quelle vitesse Phi va-t-il ici ?',
    intro:
      'Le modèle répond dans ce navigateur à des invites de plusieurs longueurs. Le chargement « à froid » supprime ce que le navigateur garde du modèle et le récupère à nouveau. Les résultats restent dans ce navigateur, rien n’est envoyé. Fermez d’abord les autres programmes et onglets.',
    device: 'Appareil',
    rounds: 'Tours',
    tokens: 'Tokens par réponse',
    run: 'Mesurer',
    noModel: 'le serveur n’a pas de modèle',
    failed: 'La mesure n’a pas abouti :',
    phases: {
      cold: 'Chargement à froid…',
      warm: 'Chargement depuis le stockage du navigateur…',
      peers: 'Mise en route…',
      answers: 'Réponses…',
      server: 'Comparaison avec le serveur…',
    },
    columns: ['Tokens de l’invite', 'Premier token', 'Lecture, tokens/s', 'Écriture, tokens/s'],
    cold: 'Chargement à froid',
    warm: 'Chargement depuis le stockage du navigateur',
    heap: 'Tas JS, modèle chargé',
    second: 'Premier token de la deuxième question',
    slowdown: 'Écriture, plus longue invite par la plus courte',
    equal: 'Tokens identiques à ceux du serveur',
    copyMarkdown: 'Copier en Markdown',
    copyJson: 'Copier en JSON',
    copied: 'Copié',
    copyFailed: 'Copie impossible',
    earlier: 'Mesures dans ce navigateur : tokens écrits/s',
    plot: 'Tokens écrits par seconde, mesure par mesure',
    forget: 'Oublier toutes les mesures',
    back: 'Vers la discussion',
  },
  'zh-Hant': {
    title: 'Phi 在這裡有多快？',
    intro:
      '模型在此瀏覽器中回答多種長度的提示。「冷」載入會刪除瀏覽器保存的模型並重新取得。結果只留在此瀏覽器中，不會傳送到任何地方。請先關閉其他程式和分頁。',
    device: '裝置',
    rounds: '輪數',
    tokens: '每次回答的 token 數',
    run: '測量',
    noModel: '伺服器沒有模型',
    failed: '無法完成測量：',
    phases: {
      cold: '正在冷載入…',
      warm: '正在從瀏覽器儲存空間載入…',
      peers: '正在暖機…',
      answers: '正在回答…',
      server: '正在與伺服器比較…',
    },
    columns: ['提示 token 數', '第一個 token', '讀取 token/秒', '生成 token/秒'],
    cold: '冷載入',
    warm: '從瀏覽器儲存空間載入',
    heap: '載入後的 JS 堆積',
    second: '第二個問題的第一個 token',
    slowdown: '生成速度，最長提示與最短提示之比',
    equal: '與伺服器相同的 token',
    copyMarkdown: '複製為 Markdown',
    copyJson: '複製為 JSON',
    copied: '已複製',
    copyFailed: '無法複製',
    earlier: '此瀏覽器中的測量：生成 token/秒',
    plot: '每秒生成的 token 數，逐次測量',
    forget: '清除所有測量',
    back: '回到聊天',
  },
  'zh-Hans': {
    title: 'Phi 在这里有多快？',
    intro:
      '模型在此浏览器中回答多种长度的提示。“冷”加载会删除浏览器保存的模型并重新获取。结果只留在此浏览器中，不会发送到任何地方。请先关闭其他程序和标签页。',
    device: '设备',
    rounds: '轮数',
    tokens: '每次回答的 token 数',
    run: '测量',
    noModel: '服务器没有模型',
    failed: '无法完成测量：',
    phases: {
      cold: '正在冷加载…',
      warm: '正在从浏览器存储加载…',
      peers: '正在预热…',
      answers: '正在回答…',
      server: '正在与服务器比较…',
    },
    columns: ['提示 token 数', '第一个 token', '读取 token/秒', '生成 token/秒'],
    cold: '冷加载',
    warm: '从浏览器存储加载',
    heap: '加载后的 JS 堆',
    second: '第二个问题的第一个 token',
    slowdown: '生成速度，最长提示与最短提示之比',
    equal: '与服务器相同的 token',
    copyMarkdown: '复制为 Markdown',
    copyJson: '复制为 JSON',
    copied: '已复制',
    copyFailed: '无法复制',
    earlier: '此浏览器中的测量：生成 token/秒',
    plot: '每秒生成的 token 数，逐次测量',
    forget: '清除所有测量',
    back: '回到聊天',
  },
};

const language = preferences.language ?? bestLanguage(navigator.languages);
document.documentElement.lang = language;

export const strings = tables[language];
export const formats = formatsOf(language);
