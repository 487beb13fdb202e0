import { expect, test } from 'vitest';

import { Branches } from '../../../page/chats/branches';

const node = (id: string, parentId: string | null = null) => ({ id, parentId });
const ids = (nodes: readonly { id: string }[]) => nodes.map(({ id }) => id).join('');

/** a → b, b has the answers c and d, d is followed by e. */
const tree = new Branches([
  node('a'),
  node('b', 'a'),
  node('c', 'b'),
  node('d', 'b'),
  node('e', 'd'),
]);

test('the shown way takes the latest where nothing was chosen', () => {
  expect(ids(tree.path())).toBe('abde');
});

test('another way is shown, and the way back leads where one was', () => {
  const c = tree.nodes[2]!;
  const other = tree.showing(c);
  expect(ids(other.path())).toBe('abc');
  expect(ids(other.siblings(c))).toBe('cd');
  expect(ids(other.showing(tree.nodes[3]!).path())).toBe('abde');
  expect(ids(tree.path())).toBe('abde');
});

test('what is added is shown', () => {
  expect(ids(tree.with(node('f', 'a')).path())).toBe('af');
  expect(ids(tree.with(node('g')).path())).toBe('g');
});

test('the way to a node does not depend on what is shown', () => {
  expect(ids(tree.pathTo(tree.nodes[2]!))).toBe('abc');
});

test('a choice of something that is not there is no choice', () => {
  expect(ids(new Branches(tree.nodes, { b: 'gone', x: 'y' }).path())).toBe('abde');
});
