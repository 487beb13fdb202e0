import { signal, useSignal } from '@preact/signals';
import type { ReadonlySignal } from '@preact/signals';
import { useEffect, useLayoutEffect } from 'preact/hooks';

import { MOST, readAttachment } from './attachments';
import type { Attachment } from './attachments';
import { strings } from './strings';
import type { Ui } from './ui';

/** A file that takes a while. */
export interface Reading {
  readonly name: string;
  /** From 0 to 1. */
  readonly share: ReadonlySignal<number>;
  readonly stop: () => void;
}

export interface Attachments {
  readonly files: ReadonlySignal<readonly Attachment[]>;
  readonly beingRead: ReadonlySignal<readonly Reading[]>;
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
  const beingRead = useSignal<readonly Reading[]>([]);
  const addOne = async (file: File) => {
    const [share, stop] = [signal(0), new AbortController()];
    const reading: Reading = { name: file.name, share, stop: stop.abort.bind(stop) };
    beingRead.value = [...beingRead.peek(), reading];
    try {
      const onShare = (read: number) => {
        share.value = read;
      };
      const read = await readAttachment(file, { onShare, signal: stop.signal });
      if (typeof read === 'string') ui.warn(strings.unreadable(file.name, read, MOST));
      else files.value = [...files.peek().filter(({ name }) => name !== read.name), read];
    } catch (error) {
      if (!stop.signal.aborted) throw error;
    } finally {
      beingRead.value = beingRead.peek().filter((one) => one !== reading);
    }
  };
  const add = async (added: readonly File[]) => {
    for (const file of added) await addOne(file);
  };
  useEffect(
    () => () => {
      for (const { stop } of beingRead.peek()) stop();
    },
    [beingRead],
  );
  useDrop(
    (over) => {
      dropping.value = over;
    },
    (dropped) => void add(dropped),
  );
  return {
    files,
    beingRead,
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
