import { useSignal } from '@preact/signals';
import type { RefObject } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

import type { DeviceChoice, RungReport } from '../shared/protocol';
import type { Library } from './chats/library';
import type { Engine } from './engine';
import { preferences, without } from './preferences';
import { strings } from './strings';
import type { Ui } from './ui';

/** Written by the build, see build/licences.ts. */
const LICENCES = '/licences.txt';

interface Props {
  readonly engine: Engine;
  readonly library: Library;
  readonly ui: Ui;
}

/** A button that opens the list of devices. */
export function DevicePicker({ engine, library, ui }: Props) {
  const open = useSignal(false);
  const area = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const close = () => {
    open.value = false;
  };
  useOutside(area, close);
  return (
    <div
      class="picker"
      ref={area}
      onKeyDown={(event) => {
        if (event.key !== 'Escape' || !open.value) return;
        event.stopPropagation();
        close();
        button.current?.focus();
      }}
    >
      <button
        type="button"
        class="button"
        data-testid="device"
        ref={button}
        aria-expanded={open.value}
        aria-label={strings.deviceButton(strings.deviceName(engine.choice.value))}
        onClick={() => {
          open.value = !open.value;
        }}
      >
        {strings.deviceName(engine.choice.value)}
        <span class="caret" aria-hidden="true" />
      </button>
      {open.value && (
        <DeviceList
          engine={engine}
          ui={ui}
          onClose={close}
          onChoose={(choice) => {
            close();
            library.stopAll();
            preferences.device = choice;
            history.replaceState(null, '', without('device', location.href));
            engine.start(choice);
            button.current?.focus();
          }}
        />
      )}
    </div>
  );
}

interface ListProps {
  readonly engine: Engine;
  readonly onChoose: (choice: DeviceChoice) => void;
}

interface PanelProps extends ListProps {
  readonly ui: Ui;
  readonly onClose: () => void;
}

function DeviceList({ engine, ui, onChoose, onClose }: PanelProps) {
  return (
    <div class="panel" role="group" aria-label={strings.deviceTitle} data-testid="device-list">
      <Row choice="auto" rung={null} engine={engine} onChoose={onChoose} />
      {engine.rungs.value.map((rung) => (
        <Row
          key={rung.device}
          choice={rung.device}
          rung={rung}
          engine={engine}
          onChoose={onChoose}
        />
      ))}
      <button
        type="button"
        class="link more"
        data-testid="open-models"
        onClick={() => {
          onClose();
          ui.dialog.value = 'models';
        }}
      >
        {strings.models}
      </button>
      <a class="quiet" href={LICENCES} target="_blank" rel="noopener">
        {strings.licences}
      </a>
    </div>
  );
}

interface RowProps extends ListProps {
  readonly choice: DeviceChoice;
  readonly rung: RungReport | null;
}

function Row({ choice, rung, engine, onChoose }: RowProps) {
  return (
    <button
      type="button"
      class="row"
      data-testid={`device-${choice}`}
      disabled={rung?.state === 'failed' && rung.reason?.code.startsWith('no-') === true}
      aria-pressed={engine.choice.value === choice}
      onClick={() => {
        onChoose(choice);
      }}
    >
      <span class="row-name">
        {strings.deviceName(choice)}
        {rung?.state === 'active' && <span class="tag">{strings.inUse}</span>}
      </span>
      <span class="row-hint">
        {rung?.reason ? strings.reason(rung.reason) : strings.deviceHint(choice)}
      </span>
    </button>
  );
}

/** Calls back for a press anywhere outside the element. */
function useOutside(area: RefObject<HTMLElement | null>, onOutside: () => void): void {
  useEffect(() => {
    const listener = ({ target }: PointerEvent) => {
      if (target instanceof Node && !area.current?.contains(target)) onOutside();
    };
    document.addEventListener('pointerdown', listener);
    return () => {
      document.removeEventListener('pointerdown', listener);
    };
  });
}
