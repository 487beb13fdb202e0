import type { Conversation, Entry } from './conversation';
import { Markdown } from './markdown/view';
import { strings } from './strings';

interface Props {
  readonly entry: Entry;
  readonly conversation: Conversation;
}

/** All versions of an answer beside each other, and which one the chat goes on with. */
export function Comparison({ entry, conversation }: Props) {
  const all = conversation.alternatives(entry);
  return (
    // Can be scrolled with keys where the versions are wider than the page.
    <div class="comparison" role="group" aria-label={strings.alternativesLabel} tabIndex={0}>
      {all.map((version, i) => (
        <section
          key={version.id}
          aria-label={strings.alternative(i + 1, all.length)}
          aria-current={version === entry}
          data-testid="version"
        >
          <div class="comparison-head">
            <span class="quiet">{strings.alternative(i + 1, all.length)}</span>
            {version !== entry && (
              <button
                type="button"
                class="small-button"
                data-testid="use-version"
                onClick={() => {
                  conversation.show(version);
                }}
              >
                {strings.useVersion}
              </button>
            )}
          </div>
          <div class="text">
            <Markdown text={version.content.value} growing={false} />
          </div>
        </section>
      ))}
    </div>
  );
}
