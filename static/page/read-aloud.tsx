import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';

import { plainText } from './markdown/plain';
import { language, strings } from './strings';

/** Reads an answer out, with a voice of this machine; nothing where there is none. */
export function ReadAloud({ text }: { readonly text: string }) {
  const speaking = useSignal(false);
  const voice = useVoice(language.value);
  useEffect(
    () => () => {
      if (speaking.peek()) speechSynthesis.cancel();
    },
    [speaking],
  );
  if (!voice) return null;
  const start = () => {
    speechSynthesis.cancel(); // one at a time
    const utterance = new SpeechSynthesisUtterance(plainText(text));
    utterance.voice = voice;
    utterance.lang = voice.lang;
    utterance.onend = utterance.onerror = () => {
      speaking.value = false;
    };
    speaking.value = true;
    speechSynthesis.speak(utterance);
  };
  return (
    <button
      type="button"
      class="small-button"
      data-testid="read-aloud"
      aria-pressed={speaking.value}
      onClick={() => {
        if (speaking.value) speechSynthesis.cancel();
        else start();
      }}
    >
      {speaking.value ? strings.stopReading : strings.readAloud}
    </button>
  );
}

/** One that works on this machine: others send the text to whoever makes the browser. */
function useVoice(wanted: string): SpeechSynthesisVoice | null {
  const voices = useSignal<readonly SpeechSynthesisVoice[]>([]);
  useEffect(() => {
    if (!('speechSynthesis' in globalThis)) return undefined;
    const read = () => {
      voices.value = speechSynthesis.getVoices().filter(({ localService }) => localService);
    };
    read();
    speechSynthesis.addEventListener('voiceschanged', read);
    return () => {
      speechSynthesis.removeEventListener('voiceschanged', read);
    };
  }, [voices]);
  const [spoken = ''] = wanted.split('-');
  return voices.value.find(({ lang }) => lang.startsWith(spoken)) ?? voices.value[0] ?? null;
}
