import { expect, test, vi } from 'vitest';

test('the bench page says everything in every language', async () => {
  vi.stubGlobal('document', { documentElement: {} });
  const { tables } = await import('../../bench/strings');
  vi.unstubAllGlobals();
  const { en, ...others } = tables;
  for (const table of Object.values(others)) {
    const left = Object.entries(table).filter(([key, text]) => text === Reflect.get(en, key));
    expect(left).toEqual([]);
    expect(table.columns).toHaveLength(en.columns.length);
  }
});
