import type { Conversation, Entry } from './conversation';
import { Icon } from './icon';
import { strings } from './strings';

interface Props {
  readonly entry: Entry;
  readonly conversation: Conversation;
}

/** Steps through the versions of a question or an answer; nothing where there is one. */
export function Alternatives({ entry, conversation }: Props) {
  const all = conversation.alternatives(entry);
  if (all.length < 2) return null;
  const at = all.indexOf(entry);
  const step = (to: Entry | undefined, label: string, icon: 'previous' | 'next') => (
    <button
      type="button"
      class="icon-button"
      data-testid={`${icon}-alternative`}
      aria-label={label}
      disabled={!to}
      onClick={() => {
        if (to) conversation.show(to);
      }}
    >
      <Icon name={icon} />
    </button>
  );
  return (
    <span class="alternatives" role="group" aria-label={strings.alternativesLabel}>
      {step(all[at - 1], strings.previousAlternative, 'previous')}
      <span data-testid="alternative">{strings.alternative(at + 1, all.length)}</span>
      {step(all[at + 1], strings.nextAlternative, 'next')}
    </span>
  );
}
