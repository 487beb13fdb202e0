/**
 * JSON as text, never parsed and written again: numbers and escapes stay what they were, in every language.
 * The server has the same functions in `engine/jsontext.py`; both pass `tests/vectors/prompt.json`.
 */

/** Deeper than that, parsers of different languages no longer agree on what is JSON. */
export const MAX_DEPTH = 64;

const PARTS = /"(?:[^"\\]|\\.)*"|[ \t\n\r]+|[,:]/gsu;
/** A string without an end takes the rest: else each quote in it would be tried as a beginning. */
const BRACKETS = /"(?:[^"\\]|\\.)*"?|[[\]{}]/gsu;

/** The JSON text with ", " and ": " between its parts and no other white space. */
export function respace(text: string): string {
  return text.replace(PARTS, (part) => {
    if (part === ',' || part === ':') return `${part} `;
    return part.startsWith('"') ? part : '';
  });
}

/** The text as a JSON string. */
export function quote(text: string): string {
  return JSON.stringify(text);
}

/** Whether the text is JSON, no deeper than MAX_DEPTH. */
export function isJson(text: string): boolean {
  if (depthOf(text) > MAX_DEPTH) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (const [bracket] of text.matchAll(BRACKETS)) {
    if (bracket === '[' || bracket === '{') deepest = Math.max(deepest, ++depth);
    else if (bracket === ']' || bracket === '}') depth -= 1;
  }
  return deepest;
}
