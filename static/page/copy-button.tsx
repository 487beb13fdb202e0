import { useEffect, useState } from 'preact/hooks';

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
    setOutcome(await write(text));
  };
  return (
    <button
      type="button"
      class="small-button"
      data-testid={testId}
      aria-label={label}
      onClick={() => void copy()}
    >
      <span aria-hidden="true">{outcome ? strings.copyOutcome(outcome) : strings.copy}</span>
      <span class="visually-hidden" role="status">
        {outcome && strings.copyOutcome(outcome)}
      </span>
    </button>
  );
}

async function write(text: string): Promise<Outcome> {
  try {
    await navigator.clipboard.writeText(text);
    return 'copied';
  } catch {
    return 'failed'; // refused by the browser, or no clipboard at all
  }
}
