import { expect, test } from 'vitest';

import { plainText } from '../../../page/markdown/plain';

test('only the words are left', () => {
  const text =
    '# One\n\n- **two** [three](https://a.b)\n- `four`\n\n| five |\n|---|\n| six &amp; |\n\n> seven\\*\n\n```py\neight\n```';
  expect(plainText(text)).toBe('One two three four five six & seven* eight');
});
