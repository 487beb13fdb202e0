import { estimateTokens } from './attachments';
import type { Attachment } from './attachments';
import { Icon } from './icon';
import { strings } from './strings';
import type { Reading } from './use-attachments';

/** What a question and its files take of what the model reads. */
export interface Budget {
  readonly tokens: number;
  /** Null while it is not known. */
  readonly of: number | null;
}

export function isOver({ tokens, of }: Budget): boolean {
  return of !== null && tokens > of;
}

interface Props {
  readonly attachments: readonly Attachment[];
  readonly beingRead: readonly Reading[];
  readonly budget: Budget;
  readonly onRemove: (attachment: Attachment) => void;
}

/** The files of a question that is being written. */
export function AttachmentList({ attachments, beingRead, budget, onRemove }: Props) {
  if (attachments.length === 0 && beingRead.length === 0) return null;
  return (
    <div class="attachments" data-testid="attachments">
      <ul>
        {attachments.map((attachment) => (
          <li key={attachment.name} data-testid="attachment">
            <span>{strings.attached(attachment.name, estimateTokens(attachment.text))}</span>
            <RemoveButton
              name={attachment.name}
              onRemove={() => {
                onRemove(attachment);
              }}
            />
          </li>
        ))}
        {beingRead.map(({ name, share, stop }) => (
          <li key={`${name} being read`} data-testid="being-read">
            <span>{strings.beingRead(name)}</span>
            {share.value > 0 && (
              <progress value={share.value} aria-label={strings.beingRead(name)} />
            )}
            <RemoveButton name={name} onRemove={stop} />
          </li>
        ))}
      </ul>
      <BudgetLine budget={budget} />
    </div>
  );
}

function RemoveButton({
  name,
  onRemove,
}: {
  readonly name: string;
  readonly onRemove: () => void;
}) {
  return (
    <button
      type="button"
      class="icon-button"
      data-testid="remove-attachment"
      aria-label={strings.removeAttachment(name)}
      onClick={onRemove}
    >
      <Icon name="close" />
    </button>
  );
}

function BudgetLine({ budget }: Pick<Props, 'budget'>) {
  const { tokens, of } = budget;
  if (of === null) return null;
  if (isOver(budget)) {
    return (
      <p class="wrong" role="alert" data-testid="too-much">
        {strings.tooMuch(tokens, of)}
      </p>
    );
  }
  return (
    <p class="quiet" data-testid="budget">
      {strings.budget(tokens, of)}
    </p>
  );
}
