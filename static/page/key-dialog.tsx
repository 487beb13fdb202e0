import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';

import { Dialog } from './dialog';
import { parseKey } from './server-key';
import type { KeyRequest, ServerKey } from './server-key';
import { strings } from './strings';

interface Props {
  readonly serverKey: ServerKey;
  readonly request: KeyRequest;
}

/** Asks for the server's access key, while a request waits for it. */
export function KeyDialog({ serverKey, request }: Props) {
  const wrong = useSignal(request.refused ? strings.keyRefused : '');
  const lasting = useSignal(false);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    input.current?.focus();
  }, []);
  const submit = (event: Event) => {
    event.preventDefault();
    const key = parseKey(input.current?.value ?? '');
    if (key !== null) serverKey.give(key, lasting.value);
    else wrong.value = strings.keyUnusable;
  };
  return (
    <Dialog
      title={strings.keyTitle}
      testId="key-dialog"
      onClose={() => {
        serverKey.decline(request);
      }}
    >
      <form class="form" onSubmit={submit}>
        <p>{strings.keyWanted}</p>
        <label class="field">
          <span>{strings.key}</span>
          <input
            ref={input}
            type="password"
            autocomplete="off"
            spellcheck={false}
            data-testid="key"
            aria-invalid={wrong.value !== ''}
            aria-describedby="key-wrong"
          />
          <span id="key-wrong" class="hint wrong" role="alert" data-testid="key-wrong">
            {wrong.value}
          </span>
        </label>
        <label class="check">
          <input
            type="checkbox"
            data-testid="key-lasting"
            checked={lasting.value}
            onChange={({ currentTarget }) => {
              lasting.value = currentTarget.checked;
            }}
          />
          {strings.keyLasting}
        </label>
        <div class="form-foot">
          <button
            type="button"
            class="button"
            onClick={() => {
              serverKey.decline(request);
            }}
          >
            {strings.cancel}
          </button>
          <button type="submit" class="button primary" data-testid="use-key">
            {strings.keyUse}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
