/** What the cards of tools say, in the language of the page. */
interface Words {
  readonly offer: string;
  readonly offerHint: string;
  readonly asks: (name: string) => string;
  readonly allow: string;
  readonly refuse: string;
  readonly running: (name: string) => string;
  readonly done: (name: string) => string;
  readonly failed: (name: string) => string;
  readonly refused: (name: string) => string;
  readonly given: string;
  readonly result: string;
  readonly sources: string;
  readonly source: (number: number, name: string) => string;
  readonly names: Readonly<Record<string, string>>;
  /** A tool that is not the page's. */
  readonly onServer: (name: string) => string;
}

const ENGLISH: Words = {
  offer: 'Offer tools to the model',
  offerHint:
    'A clock, a calculator and a converter of units, in this page, and the tools that the server was started with. They run only when you allow it.',
  asks: (name) => `The model wants to use the ${name}.`,
  allow: 'Allow',
  refuse: 'Don’t allow',
  running: (name) => `Using the ${name} …`,
  done: (name) => `Used the ${name}`,
  failed: (name) => `The ${name} gave no result`,
  refused: (name) => `Did not use the ${name}`,
  given: 'Given',
  result: 'Result',
  sources: 'Sources',
  source: (number, name) => `Source ${number}: ${name}`,
  names: { now: 'clock', calculate: 'calculator', convert: 'unit converter' },
  onServer: (name) => `server’s tool ${name}`,
};

const WORDS: Readonly<Record<string, Words>> = {
  en: ENGLISH,
  de: {
    offer: 'Dem Modell Werkzeuge anbieten',
    offerHint:
      'Uhr, Rechner und Umrechner für Einheiten in dieser Seite, und die Werkzeuge, mit denen der Server gestartet wurde. Sie laufen nur, wenn Sie es erlauben.',
    asks: (name) => `Das Modell möchte ein Werkzeug benutzen: ${name}.`,
    allow: 'Erlauben',
    refuse: 'Nicht erlauben',
    running: (name) => `Wird benutzt: ${name} …`,
    done: (name) => `Benutzt: ${name}`,
    failed: (name) => `Kein Ergebnis: ${name}`,
    refused: (name) => `Nicht benutzt: ${name}`,
    given: 'Eingabe',
    result: 'Ergebnis',
    sources: 'Quellen',
    source: (number, name) => `Quelle ${number}: ${name}`,
    names: { now: 'Uhr', calculate: 'Rechner', convert: 'Umrechner' },
    onServer: (name) => `${name} auf dem Server`,
  },
  fr: {
    offer: 'Proposer des outils au modèle',
    offerHint:
      'Une horloge, une calculatrice et un convertisseur d’unités dans cette page, et les outils avec lesquels le serveur a été lancé. Ils ne s’exécutent que si vous l’autorisez.',
    asks: (name) => `Le modèle veut utiliser un outil : ${name}.`,
    allow: 'Autoriser',
    refuse: 'Refuser',
    running: (name) => `En cours : ${name}…`,
    done: (name) => `Utilisé : ${name}`,
    failed: (name) => `Sans résultat : ${name}`,
    refused: (name) => `Non utilisé : ${name}`,
    given: 'Entrée',
    result: 'Résultat',
    sources: 'Sources',
    source: (number, name) => `Source ${number} : ${name}`,
    names: { now: 'horloge', calculate: 'calculatrice', convert: 'convertisseur' },
    onServer: (name) => `${name}, sur le serveur`,
  },
  'zh-Hant': {
    offer: '提供工具給模型',
    offerHint: '本頁面中的時鐘、計算機與單位換算，以及伺服器啟動時所帶的工具。只在您允許時執行。',
    asks: (name) => `模型想使用${name}。`,
    allow: '允許',
    refuse: '不允許',
    running: (name) => `正在使用${name}…`,
    done: (name) => `已使用${name}`,
    failed: (name) => `${name}沒有結果`,
    refused: (name) => `未使用${name}`,
    given: '輸入',
    result: '結果',
    sources: '來源',
    source: (number, name) => `來源 ${number}：${name}`,
    names: { now: '時鐘', calculate: '計算機', convert: '單位換算' },
    onServer: (name) => `伺服器的工具 ${name} `,
  },
  'zh-Hans': {
    offer: '向模型提供工具',
    offerHint: '本页面中的时钟、计算器和单位换算，以及服务器启动时所带的工具。仅在您允许时运行。',
    asks: (name) => `模型想使用${name}。`,
    allow: '允许',
    refuse: '不允许',
    running: (name) => `正在使用${name}…`,
    done: (name) => `已使用${name}`,
    failed: (name) => `${name}没有结果`,
    refused: (name) => `未使用${name}`,
    given: '输入',
    result: '结果',
    sources: '来源',
    source: (number, name) => `来源 ${number}：${name}`,
    names: { now: '时钟', calculate: '计算器', convert: '单位换算' },
    onServer: (name) => `服务器的工具 ${name} `,
  },
};

/** The words in the language that the document says it is in. */
export function toolWords(): Words {
  return WORDS[document.documentElement.lang] ?? ENGLISH;
}
