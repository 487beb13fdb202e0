import js from '@eslint/js';
import tseslint from 'typescript-eslint';

/** Nobody but worker/runtime/ort.ts may touch ONNX Runtime Web: its default entry answers wrongly. */
const ortOnlyBehindItsDoor = {
  group: ['onnxruntime-*'],
  message: 'Only worker/runtime/ort.ts talks to ONNX Runtime Web; import what you need from there.',
};

/** An eslint rule entry that forbids importing from the given folders. */
function forbid(...folders) {
  const patterns = folders.map((folder) => ({
    regex: `(^|/)${folder}(/|$)`,
    message: `${folder}/ is out of reach here: page and worker share code through shared/ only.`,
  }));
  return { 'no-restricted-imports': ['error', { patterns: [ortOnlyBehindItsDoor, ...patterns] }] };
}

export default tseslint.config(
  { ignores: ['dist/', 'client-package/', 'node_modules/'] },
  js.configs.recommended,
  {
    files: ['**/*.ts', '**/*.tsx'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // `() => {}` says that something is meant to be ignored.
      '@typescript-eslint/no-empty-function': 'off',
      // With noUncheckedIndexedAccess, `array[i]!` is how code says "in bounds by construction".
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },
  {
    files: ['page/**'],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          selector:
            "JSXAttribute[name.name='dangerouslySetInnerHTML'], MemberExpression[property.name=/^(inner|outer)HTML$/]",
          message: 'The page never reads HTML: an answer could hide a script in it. Make elements.',
        },
      ],
    },
  },
  { files: ['shared/**', 'service/**'], rules: forbid('page', 'worker') },
  {
    files: ['page/**'],
    ignores: ['page/start-worker.ts'],
    rules: forbid('worker', 'client', 'bench'),
  },
  { files: ['client/**', 'bench/**'], rules: forbid('worker') },
  { files: ['worker/**'], ignores: ['worker/runtime/ort.ts'], rules: forbid('page') },
);
