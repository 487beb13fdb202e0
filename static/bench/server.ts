/** What the server answers, token by token, to compare with. */
import { asArray, asNumber, asObject } from '../shared/json';
import type { Message } from '../shared/protocol';

export interface ServerAnswer {
  /** What each token adds to the text, in order: a character of several tokens comes with its last. */
  readonly tokens: readonly string[];
}

/** The most likely answer. Rejects with what the server says when it refuses. */
export async function askServer(
  fetchUrl: typeof fetch,
  model: string,
  messages: readonly Message[],
  maxTokens: number,
): Promise<ServerAnswer> {
  const response = await fetchUrl('/v1/chat/completions', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({
      ...{ model, messages, max_tokens: maxTokens, temperature: 0, logprobs: true },
    }),
  });
  if (!response.ok) throw new Error(`the server answered ${response.status} to a question`);
  const [choice] = asArray(asObject(await response.json(), 'the answer')['choices'], 'choices');
  const logprobs = asObject(asObject(choice, 'choice')['logprobs'], 'logprobs');
  const decoder = new TextDecoder();
  const tokens = asArray(logprobs['content'], 'logprobs.content').map((token) => {
    const bytes = asArray(asObject(token, 'token')['bytes'], 'bytes').map((byte) =>
      asNumber(byte, 'byte'),
    );
    return decoder.decode(Uint8Array.from(bytes), { stream: true });
  });
  return { tokens };
}

/** How many of the server's tokens the other answer begins with. */
export function equalTokens({ tokens }: ServerAnswer, text: string): number {
  let at = 0;
  for (const [i, token] of tokens.entries()) {
    if (!text.startsWith(token, at)) return i;
    at += token.length;
  }
  return tokens.length;
}
