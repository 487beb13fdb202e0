/** Puts the text on the clipboard. `failed`: refused by the browser, or no clipboard at all. */
export async function copyText(text: string): Promise<'copied' | 'failed'> {
  try {
    await navigator.clipboard.writeText(text);
    return 'copied';
  } catch {
    return 'failed';
  }
}
