import { renderToString } from 'preact-render-to-string';
import { expect, test } from 'vitest';

import { withoutOpenMath } from '../../../page/markdown/math';
import { mend } from '../../../page/markdown/mend';
import { plainText } from '../../../page/markdown/plain';
import { Markdown } from '../../../page/markdown/view';

const TEXT = 'So \\(a_1 * b_1\\) and $x^2$:\n\\[\nE = mc^2\n= y\n\\]\nEnd.\n\n$$\\frac{1}{2}$$\n';

function formulas(text: string, growing = false): string[] {
  const shown = renderToString(<Markdown text={text} growing={growing} />);
  return [...shown.matchAll(/<span class="(math[^"]*)"[^>]*>([^<]*)</g)].map(
    ([, kind, tex]) => `${kind}: ${tex}`,
  );
}

test('formulas of all four kinds are found, and nothing in them is Markdown', () => {
  expect(formulas(TEXT)).toEqual([
    'math: a_1 * b_1',
    'math: x^2',
    'math display: E = mc^2\n= y',
    'math display: \\frac{1}{2}',
  ]);
  expect(plainText('It is $x$.')).toBe('It is x.');
});

test('prices, code and marks that were escaped are no formulas', () => {
  const text = 'From $5 to $10, US$5/A$6, `$x$`, \\$x$.\n\n```sh\necho $a $b $$x$$\n```\n';
  expect(formulas(text)).toEqual([]);
});

test('a formula that is being written waits for its end, and nothing else waits for long', () => {
  for (let end = 0; end <= TEXT.length; end++) {
    const shown = renderToString(<Markdown text={TEXT.slice(0, end)} growing />);
    expect(shown).not.toMatch(/\\\\|frac\{1\}\{2(?!\})|\\\[|\\\(/);
  }
  expect(withoutOpenMath('a \\(b')).toBe('a ');
  expect(withoutOpenMath('a \\[b\n\nnext')).toBe('a \\[b\n\nnext');
  expect(mend('Cost: $$ and more\n\nText')).toContain('Text');
});
