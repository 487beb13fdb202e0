import { useSignal } from '@preact/signals';
import type { ReadonlySignal } from '@preact/signals';
import { useLayoutEffect } from 'preact/hooks';

import { MOST_BYTES, readAttachment } from './attachments';
import type { Attachment } from './attachments';
import { strings } from './strings';
import type { Ui } from './ui';

export interface Attachments {
  readonly files: ReadonlySignal<readonly Attachment[]>;
  /** Whether files hang over the page. */
  readonly dropping: ReadonlySignal<boolean>;
  /** What cannot be read is said. */
  readonly add: (files: readonly File[]) => Promise<void>;
  readonly remove: (attachment: Attachment) => void;
  readonly clear: () => void;
}

/** The files of the question in the box: chosen, pasted or dropped anywhere on the page. */
export function useAttachments(ui: Ui): Attachments {
  const files = useSignal<readonly Attachment[]>([]);
  const dropping = useSignal(false);
  const add = async (added: readonly File[]) => {
    for (const file of added) {
      const read = await readAttachment(file);
      if (read === 'no-text') ui.warn(strings.noText(file.name));
      else if (read === 'too-long') ui.warn(strings.fileTooLong(file.name, MOST_BYTES));
      else files.value = [...files.peek().filter(({ name }) => name !== read.name), read];
    }
  };
  useDrop(
    (over) => {
      dropping.value = over;
    },
    (dropped) => void add(dropped),
  );
  return {
    files,
    dropping,
    add,
    remove: (attachment) => {
      files.value = files.peek().filter((one) => one !== attachment);
    },
    clear: () => {
      files.value = [];
    },
  };
}

/** A file that is dropped on a page replaces the page unless somebody takes it, from the first drawing on. */
function useDrop(onOver: (over: boolean) => void, onDrop: (files: readonly File[]) => void): void {
  useLayoutEffect(() => {
    const over = (event: DragEvent) => {
      if (event.dataTransfer?.types.includes('Files') !== true) return;
      event.preventDefault();
      onOver(true);
    };
    const leave = (event: DragEvent) => {
      if (event.relatedTarget === null) onOver(false);
    };
    const drop = (event: DragEvent) => {
      const files = [...(event.dataTransfer?.files ?? [])];
      onOver(false);
      if (files.length === 0) return;
      event.preventDefault();
      onDrop(files);
    };
    document.addEventListener('dragover', over);
    document.addEventListener('dragleave', leave);
    document.addEventListener('drop', drop);
    return () => {
      document.removeEventListener('dragover', over);
      document.removeEventListener('dragleave', leave);
      document.removeEventListener('drop', drop);
    };
  }, []);
}
