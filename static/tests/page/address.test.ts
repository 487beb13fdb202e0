import { expect, test } from 'vitest';

import { chatIdIn, withChat } from '../../page/address';

test('the open chat is in the address and can be read from it', () => {
  const address = withChat('http://h/?device=wasm', 'a-1');
  expect(address).toBe('http://h/?device=wasm#chat=a-1');
  expect(chatIdIn(new URL(address).hash)).toBe('a-1');
  expect(withChat(address, null)).toBe('http://h/?device=wasm');
});

test('other addresses name no chat', () => {
  for (const hash of ['', '#', '#chat=', '#other']) expect(chatIdIn(hash)).toBeNull();
});
