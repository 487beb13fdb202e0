import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';

import { adapterName } from './adapter-source';
import type { Shelf } from './models/shelf';
import { strings } from './strings';

interface Props {
  readonly shelf: Shelf;
  readonly modelId: string | null;
  /** Empty for none. */
  readonly adapter: string;
  readonly onChange: (adapter: string) => void;
}

/** The adapters that the server has for the model. Nothing where there are none. */
export function AdapterInput({ shelf, modelId, adapter, onChange }: Props) {
  const known = useSignal<readonly string[]>([]);
  useEffect(() => {
    void shelf.adapters(modelId).then((ids) => {
      known.value = ids;
    });
  }, [shelf, modelId, known]);
  const chosen = adapterName(adapter, modelId) === null ? '' : adapter;
  const ids =
    chosen === '' || known.value.includes(chosen) ? known.value : [...known.value, chosen];
  if (ids.length === 0) return null;
  return (
    <label class="field">
      <span>{strings.adapter}</span>
      <select
        data-testid="adapter"
        onChange={(event) => {
          onChange(event.currentTarget.value);
        }}
      >
        <option value="">{strings.noAdapter}</option>
        {ids.map((id) => (
          <option key={id} value={id} selected={id === chosen}>
            {adapterName(id, modelId)}
          </option>
        ))}
      </select>
      <span class="hint">{strings.adapterHint}</span>
    </label>
  );
}
