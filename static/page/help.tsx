import { Dialog } from './dialog';
import { strings } from './strings';
import type { Ui } from './ui';

interface Props {
  readonly ui: Ui;
  readonly onClose: () => void;
}

/** The keyboard, as a table. */
export function Help({ ui, onClose }: Props) {
  const command = /Mac|iPhone|iPad/.test(navigator.platform) ? '⌘' : 'Ctrl';
  return (
    <Dialog title={strings.shortcuts} onClose={onClose} testId="help">
      <dl class="keys">
        {strings.shortcutList(command).map(([keys, meaning]) => (
          <div key={meaning}>
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
      <label class="check">
        <input
          type="checkbox"
          data-testid="single-keys"
          checked={ui.singleKeys.value}
          onChange={({ currentTarget }) => {
            ui.singleKeys.value = currentTarget.checked;
          }}
        />
        {strings.singleKeys}
      </label>
    </Dialog>
  );
}
