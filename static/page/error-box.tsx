import type { ErrorShape } from '../shared/errors';
import { strings } from './strings';

interface Props {
  readonly error: ErrorShape;
  /** Null where trying again cannot help. */
  readonly onRetry: (() => void) | null;
}

/** What went wrong and what to do, with the precise message for those who want it. */
export function ErrorBox({ error, onRetry }: Props) {
  return (
    <div class="error" role="alert" data-testid="error">
      <p>{strings.error(error.kind)}</p>
      <p class="quiet">{error.message}</p>
      {onRetry && (
        <button type="button" class="button" data-testid="retry" onClick={onRetry}>
          {strings.retry}
        </button>
      )}
    </div>
  );
}
