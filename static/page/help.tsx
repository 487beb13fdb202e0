import { Dialog } from './dialog';
import { strings } from './strings';

/** The keyboard, as a table. */
export function Help({ onClose }: { readonly onClose: () => void }) {
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
    </Dialog>
  );
}
