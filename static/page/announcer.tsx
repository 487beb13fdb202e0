import { useEffect, useRef, useState } from 'preact/hooks';

import type { Conversation } from './conversation';
import { plainText } from './markdown/plain';
import { strings } from './strings';

/** A screen reader that begins to read out more than this is hard to stop. */
const MAX_READ_CHARS = 600;

/**
 * Tells screen readers once that an answer is there: a short one whole, of a long one its length.
 * Answers that were there when the chat was opened are not told.
 */
export function Announcer({ conversation }: { readonly conversation: Conversation }) {
  const busy = conversation.busy.value;
  const wasBusy = useRef(busy);
  const [told, setTold] = useState('');
  useEffect(() => {
    if (busy) setTold('');
    else if (wasBusy.current) setTold(announcement(conversation));
    wasBusy.current = busy;
  }, [busy, conversation]);
  return (
    <div class="visually-hidden" aria-live="polite" data-testid="announcer">
      {told}
    </div>
  );
}

/** Errors announce themselves. */
function announcement(conversation: Conversation): string {
  const last = conversation.entries.peek().at(-1);
  if (last?.role !== 'assistant') return '';
  const text = plainText(last.content.peek());
  return text.length <= MAX_READ_CHARS ? text : strings.answerReady(text.split(' ').length);
}
