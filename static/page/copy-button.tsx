import { useEffect, useState } from 'preact/hooks';

import { copyText } from './copy-text';
import { strings } from './strings';

const SHOWN_MS = 2000;

interface Props {
  readonly text: string;
  /** What the button copies, for those who do not see where it stands. */
  readonly label: string;
  readonly testId?: string;
}

type Outcome = 'copied' | 'failed';

/** Puts the text on the clipboard, and says for a moment how that went. */
export function CopyButton({ text, label, testId = 'copy' }: Props) {
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  useEffect(() => {
    if (!outcome) return undefined;
    const timer = setTimeout(() => {
      setOutcome(null);
    }, SHOWN_MS);
    return () => {
      clearTimeout(timer);
    };
  }, [outcome]);
  const copy = async () => {
    setOutcome(await copyText(text));
  };
  return (
    <button
      type="button"
      class="small-button"
      data-testid={testId}
      aria-label={outcome ? strings.copyOutcome(outcome) : label}
      onClick={() => void copy()}
    >
      <span aria-hidden="true">{outcome ? strings.copyOutcome(outcome) : strings.copy}</span>
      <span class="visually-hidden" role="status">
        {outcome && strings.copyOutcome(outcome)}
      </span>
    </button>
  );
}
