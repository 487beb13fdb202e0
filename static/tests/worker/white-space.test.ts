import { expect, test } from 'vitest';

import { AddedTokens } from '../../worker/runtime/added-tokens';
import { spellOutWhiteSpace } from '../../worker/runtime/white-space';

const NEXT_LINE = '\u0085';
const BYTE_ORDER_MARK = '\ufeff';

function added(change: object): AddedTokens {
  return new AddedTokens([{ id: 7, content: '<e>', special: true, normalized: false, ...change }]);
}

test('a token strips what Unicode calls white space, and nothing else', () => {
  const tokens = added({ rstrip: true });
  expect(tokens.split(`a <e>${NEXT_LINE} b`)).toEqual(['a ', 7, 'b']);
  expect(tokens.split(`<e>${BYTE_ORDER_MARK}b`)).toEqual([7, `${BYTE_ORDER_MARK}b`]);
  expect(added({ lstrip: true }).split('a <e> b')).toEqual(['a', 7, ' b']);
});

test('of two tokens the longer one is found', () => {
  const tokens = new AddedTokens([
    { id: 1, content: '<e', special: true },
    { id: 2, content: '<e>', special: true },
  ]);
  expect(tokens.split('<e><e')).toEqual([2, 1]);
});

test('tokens that are sought after normalising are left alone', () => {
  expect(added({ normalized: true }).split('<e>')).toEqual(['<e>']);
});

test('a pattern’s white space is spelt out, its escaped backslashes are not touched', () => {
  const split = { type: 'Split', pattern: { Regex: String.raw`\s+(?!\S)|\\s` } };
  expect(spellOutWhiteSpace({ type: 'Sequence', pretokenizers: [split] })).toMatchObject({
    pretokenizers: [{ pattern: { Regex: String.raw`\p{White_Space}+(?!\P{White_Space})|\\s` } }],
  });
});

test('the pattern built into ByteLevel is made explicit', () => {
  expect(spellOutWhiteSpace({ type: 'ByteLevel', add_prefix_space: false })).toMatchObject({
    type: 'Sequence',
    pretokenizers: [{ type: 'Split' }, { type: 'ByteLevel', use_regex: false }],
  });
});
