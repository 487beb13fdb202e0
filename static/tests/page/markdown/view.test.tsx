import { renderToString } from 'preact-render-to-string';
import { expect, test } from 'vitest';

import { Markdown } from '../../../page/markdown/view';
import { ANSWER } from './answer';

function html(text: string, growing = false): string {
  return renderToString(<Markdown text={text} growing={growing} />);
}

test('an answer becomes headings, lists, tables and code', () => {
  const shown = html(ANSWER);
  expect(shown).toContain('<h2>Sorting</h2>');
  expect(shown).toContain('<em>one</em>');
  expect(shown).toContain('<code>stdin</code>');
  expect(shown).toContain('<th scope="col" class="to-right">cost</th>');
  expect(shown).toContain('<td class="to-right"><strong>n log n</strong></td>');
  expect(shown).toContain('<span>python</span>');
  expect(shown).toContain('# **not bold**');
  expect(shown).toContain('<del>no</del>');
  expect(shown.match(/type="checkbox"/g)).toHaveLength(2);
});

test('links open elsewhere and tell nobody where they came from', () => {
  expect(html('[a](https://b.c/d)')).toBe(
    '<p><a href="https://b.c/d" target="_blank" rel="noopener noreferrer">a</a></p>',
  );
  expect(html('see https://b.c')).toContain('<a href="https://b.c/" target="_blank"');
  expect(html('[mail](mailto:a@b.c)')).toContain('href="mailto:a@b.c"');
});

test('pictures are never loaded, they are links', () => {
  const shown = html('![a cat](https://b.c/cat.png "t") ![](https://b.c/x.gif)');
  expect(shown).not.toContain('<img');
  expect(shown).toContain('>a cat</a>');
  expect(shown).toContain('>https://b.c/x.gif</a>');
});

test('entities and line breaks in tables are what they mean', () => {
  expect(html('a &lt; b &amp;amp; `&lt;` &nope; &#65;&#x42;')).toBe(
    '<p>a &lt; b &amp;amp; <code>&amp;lt;</code> &amp;nope; AB</p>',
  );
  expect(html('| a |\n|---|\n| b<br>c |')).toContain('<td>b<br/>c</td>');
  expect(html('one\ntwo')).toBe('<p>one<br/>two</p>');
});

const ATTACKS = [
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  '<a href="javascript:alert(1)" onclick="alert(1)">x</a>',
  '<svg onload=alert(1)><script>alert(1)</script></svg>',
  '<svg><animate onbegin=alert(1) attributeName=x dur=1s>',
  '<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>',
  '<style>body{display:none}</style>',
  '<form action="https://evil.example"><input name=q><button>Go</button></form>',
  '<iframe src="https://evil.example"></iframe>',
  '<object data="x"></object><embed src="x"><base href="https://evil.example">',
  '<meta http-equiv="refresh" content="0;url=https://evil.example">',
  '<details open ontoggle=alert(1)>x</details>',
  '[x](javascript:alert(1))',
  '[x](JaVaScRiPt:alert(1))',
  '[x](java&#115;cript:alert(1))',
  '[x](&#106;avascript&colon;alert(1))',
  '[x](\u0001javascript:alert(1))',
  '[x]( javascript:alert(1))',
  '[x](<java\tscript:alert(1)>)',
  '[x](data:text/html,<script>alert(1)</script>)',
  '[x](vbscript:msgbox(1))',
  '[x](blob:http://localhost/1)',
  '[x](file:///etc/passwd)',
  '[x](/v1/models)',
  '[x](//evil.example)',
  '![x](javascript:alert(1))',
  '![x" onerror="alert(1)](https://b.c/"onerror="alert(1))',
  '<javascript:alert(1)>',
  '[x](https://b.c "t\\" onmouseover=\\"alert(1)")',
  '```"><script>alert(1)</script>\n</code></pre><script>alert(1)</script>\n```',
  '`<img src=x onerror=alert(1)>`',
  '| <script>alert(1)</script> |\n|---|\n| <img src=x onerror=alert(1)> |',
  '# <script>alert(1)</script>',
  '- <script>alert(1)</script>\n  <style>x</style>',
  '> <iframe src="javascript:alert(1)">',
  '[a]: javascript:alert(1)\n\n[a]',
  '<!--><script>alert(1)</script-->',
  '&lt;script&gt;alert(1)&lt;/script&gt;',
  '<<script>script>alert(1)<</script>/script>',
];

const ELEMENTS = new Set(
  'a blockquote br button code del em figcaption figure h2 h3 h4 h5 h6 hr input li ol p pre span strong table tbody td th thead tr ul div'.split(
    ' ',
  ),
);
const ATTRIBUTES = new Set(
  'aria-hidden aria-label checked class data-testid disabled href rel role scope start tabindex target type'.split(
    ' ',
  ),
);

test.each(ATTACKS)('%s does nothing but show', (attack) => {
  for (const text of [attack, `before ${attack} after`, `**${attack}`, `- ${attack}`]) {
    for (const growing of [false, true]) {
      const shown = html(text, growing);
      for (const [, name, attributes] of shown.matchAll(
        /<([a-zA-Z!?][^\s>/]*)((?:"[^"]*"|[^">])*)>/g,
      )) {
        expect(ELEMENTS, shown).toContain(name);
        for (const [, attribute] of attributes!.matchAll(/([^\s="/]+)(?:="[^"]*")?/g)) {
          expect(ATTRIBUTES, shown).toContain(attribute);
        }
      }
      for (const [, href] of shown.matchAll(/href="([^"]*)"/g)) {
        expect(href).toMatch(/^(https?:\/\/|mailto:)/);
      }
    }
  }
});

test('deep nesting is shown as it is written', () => {
  expect(html('> '.repeat(500) + 'deep')).toContain('deep');
  expect(html('- '.repeat(500) + 'deep')).toContain('deep');
  expect(html('*a **b '.repeat(2000))).toContain('b');
});
