import { renderToString } from 'preact-render-to-string';
import { expect, test, vi } from 'vitest';

import { Markdown } from '../../../page/markdown/view';
import { Citations, citationsOf, passagesIn } from '../../../page/tools/citations';
import { ToolRun } from '../../../page/tools/run';
import type { StoredRun } from '../../../page/tools/run';
import { Sources } from '../../../page/tools/sources';
import { ToolCards } from '../../../page/tools/tool-cards';

const GUIDE = { source: 'guide.md, Rent', text: 'The rent is due in June.' };
const REPORT = { source: 'report.pdf, page 2', text: 'It was <b>paid</b>.' };

vi.stubGlobal('document', { documentElement: { lang: 'en' } });

function run(result: string, state: StoredRun['state'] = 'done'): ToolRun {
  return ToolRun.restored({ name: 'docs-search', arguments: '{}', state, result });
}

function drawn(text: string, ...runs: readonly ToolRun[]): string {
  const citations = citationsOf('a', runs);
  return renderToString(
    <Citations.Provider value={citations}>
      <ToolCards runs={runs} citations={citations} />
      <Markdown text={text} growing={false} />
      <Sources citations={citations} />
    </Citations.Provider>,
  );
}

test('a list of passages is told by its fields, whatever the tool is called', () => {
  expect(passagesIn(JSON.stringify([GUIDE, REPORT]))).toEqual([GUIDE, REPORT]);
  for (const other of [
    ...['42', '', '[', '[1]', '{"source":"a","text":"b"}', '[{"source":"a"}]', '[null]'],
    ...[JSON.stringify([GUIDE, 'more']), 'Sources: [1] guide.md'],
  ]) {
    expect(passagesIn(other)).toEqual([]);
  }
});

test('passages are numbered through all calls; those that gave none count for nothing', () => {
  const runs = [run(JSON.stringify([GUIDE])), run('42'), run(JSON.stringify([REPORT]))];
  const refused = run(JSON.stringify([GUIDE]), 'failed');
  const found = citationsOf('a', [refused, ...runs]);
  expect(found.map(({ number, source }) => [number, source])).toEqual([
    [1, GUIDE.source],
    [2, REPORT.source],
  ]);
  expect(found[1]!.run).toBe(runs[2]);
});

test('the card lists them, a line names them, and numbers that exist are buttons', () => {
  const shown = drawn('June [1], and **paid [2]**[7].', run(JSON.stringify([GUIDE, REPORT])));
  expect(shown).toMatch(/<details id="passage-a-1"[^>]*><summary>1 guide\.md, Rent<\/summary>/);
  expect(shown).toContain('<p>It was &lt;b>paid&lt;/b>.</p>');
  expect(shown).toContain('>2 report.pdf, page 2</button>');
  expect(shown).toContain('aria-label="Source 2: report.pdf, page 2">[2]</button></strong>[7].');
});

test('without passages numbers are text and there is no line of sources', () => {
  const shown = drawn('June [1].', run('42'));
  expect(shown).toContain('<p>June [1].</p>');
  expect(shown).not.toContain('Sources');
});

test('numbers in code, in links and with other zeros are what they were', () => {
  const runs = [run(JSON.stringify([GUIDE]))];
  for (const text of ['`a[1]`', '[see [1]](https://a.test)', '[01]']) {
    expect(drawn(text, ...runs)).not.toContain('class="citation"');
  }
  expect(drawn('[01]', ...runs)).toContain('<p>[01]</p>');
});
