/** What the cards of tools say, in the language of the page. */
interface Words {
  readonly offer: string;
  readonly offerHint: string;
  readonly asks: (name: string) => string;
  readonly allow: string;
  readonly refuse: string;
  readonly done: (name: string) => string;
  readonly failed: (name: string) => string;
  readonly refused: (name: string) => string;
  readonly given: string;
  readonly result: string;
  readonly names: Readonly<Record<string, string>>;
}

const ENGLISH: Words = {
  offer: 'Offer tools to the model',
  offerHint:
    'A clock, a calculator and a converter of units. They run in this page, and only when you allow it.',
  asks: (name) => `The model wants to use the ${name}.`,
  allow: 'Allow',
  refuse: 'Don’t allow',
  done: (name) => `Used the ${name}`,
  failed: (name) => `The ${name} gave no result`,
  refused: (name) => `Did not use the ${name}`,
  given: 'Given',
  result: 'Result',
  names: { now: 'clock', calculate: 'calculator', convert: 'unit converter' },
};

const WORDS: Readonly<Record<string, Words>> = {
  en: ENGLISH,
  de: {
    offer: 'Dem Modell Werkzeuge anbieten',
    offerHint:
      'Uhr, Rechner und Umrechner für Einheiten. Sie laufen in dieser Seite, und nur, wenn Sie es erlauben.',
    asks: (name) => `Das Modell möchte ein Werkzeug benutzen: ${name}.`,
    allow: 'Erlauben',
    refuse: 'Nicht erlauben',
    done: (name) => `Benutzt: ${name}`,
    failed: (name) => `Kein Ergebnis: ${name}`,
    refused: (name) => `Nicht benutzt: ${name}`,
    given: 'Eingabe',
    result: 'Ergebnis',
    names: { now: 'Uhr', calculate: 'Rechner', convert: 'Umrechner' },
  },
  fr: {
    offer: 'Proposer des outils au modèle',
    offerHint:
      'Une horloge, une calculatrice et un convertisseur d’unités. Ils s’exécutent dans cette page, et seulement si vous l’autorisez.',
    asks: (name) => `Le modèle veut utiliser un outil : ${name}.`,
    allow: 'Autoriser',
    refuse: 'Refuser',
    done: (name) => `Utilisé : ${name}`,
    failed: (name) => `Sans résultat : ${name}`,
    refused: (name) => `Non utilisé : ${name}`,
    given: 'Entrée',
    result: 'Résultat',
    names: { now: 'horloge', calculate: 'calculatrice', convert: 'convertisseur' },
  },
  'zh-Hant': {
    offer: '提供工具給模型',
    offerHint: '時鐘、計算機與單位換算。它們在本頁面中執行，且只在您允許時執行。',
    asks: (name) => `模型想使用${name}。`,
    allow: '允許',
    refuse: '不允許',
    done: (name) => `已使用${name}`,
    failed: (name) => `${name}沒有結果`,
    refused: (name) => `未使用${name}`,
    given: '輸入',
    result: '結果',
    names: { now: '時鐘', calculate: '計算機', convert: '單位換算' },
  },
  'zh-Hans': {
    offer: '向模型提供工具',
    offerHint: '时钟、计算器和单位换算。它们在本页面中运行，且仅在您允许时运行。',
    asks: (name) => `模型想使用${name}。`,
    allow: '允许',
    refuse: '不允许',
    done: (name) => `已使用${name}`,
    failed: (name) => `${name}没有结果`,
    refused: (name) => `未使用${name}`,
    given: '输入',
    result: '结果',
    names: { now: '时钟', calculate: '计算器', convert: '单位换算' },
  },
};

/** The words in the language that the document says it is in. */
export function toolWords(): Words {
  return WORDS[document.documentElement.lang] ?? ENGLISH;
}
