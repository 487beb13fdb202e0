import { expect, test } from 'vitest';

import { highlight } from '../../../page/markdown/highlight';

test('code is coloured in pieces that make it up', () => {
  const code = 'def f(x):  # twice\n    return f"{x}" * 2\n';
  const pieces = highlight(code, 'python');
  expect(pieces?.map(({ text }) => text).join('')).toBe(code);
  expect(pieces).toContainEqual({ text: 'def', kind: 'keyword' });
  expect(pieces).toContainEqual({ text: '# twice', kind: 'comment' });
});

test('languages have their other names', () => {
  for (const name of [
    'py',
    'js',
    'ts',
    'tsx',
    'sh',
    'c++',
    'html',
    'yml',
    'cs',
    'rs',
    'toml',
    'ps1',
  ]) {
    expect(highlight('x', name), name).not.toBeNull();
  }
});

test('a language that is not known has no colours', () => {
  expect(highlight('x', 'klingon')).toBeNull();
});
