import { useContext } from 'preact/hooks';

import { Citations, showPassage } from './citations';
import type { Citation } from './citations';
import { toolWords } from './words';

/** The quiet line below an answer that says where its passages come from. */
export function Sources({ citations }: { readonly citations: readonly Citation[] }) {
  if (citations.length === 0) return null;
  const words = toolWords();
  return (
    <div class="sources quiet" role="group" aria-label={words.sources} data-testid="sources">
      <span aria-hidden="true">{words.sources}:</span>
      <ul>
        {citations.map((citation) => (
          <li key={citation.number}>
            <button
              type="button"
              class="small-button"
              title={citation.source}
              onClick={() => {
                showPassage(citation);
              }}
            >
              {citation.number} {citation.source}
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}

/** A number in brackets: it opens the passage that has it, or is text where none has. */
export function CitationMark({ number }: { readonly number: number }) {
  const citation = useContext(Citations).find((one) => one.number === number);
  if (!citation) return `[${number}]`;
  return (
    <button
      type="button"
      class="citation"
      title={citation.source}
      aria-label={toolWords().source(number, citation.source)}
      onClick={() => {
        showPassage(citation);
      }}
    >
      [{number}]
    </button>
  );
}
