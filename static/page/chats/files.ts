/** Chats to and from files of the one who uses the page. */
import { strings } from '../strings';
import type { Ui } from '../ui';
import type { Library } from './library';
import { ImportError, fileNameOf, parseChats, toJson, toMarkdown } from './transfer';

const MAX_IMPORT_BYTES = 200e6;

export async function downloadAll(library: Library): Promise<void> {
  save('localphi-chats.json', 'application/json', toJson(await library.records()));
}

export async function download(
  library: Library,
  chatId: string,
  form: 'json' | 'markdown',
): Promise<void> {
  const record = await library.record(chatId);
  if (!record) return;
  const name = fileNameOf(record.info.title);
  if (form === 'json') save(`${name}.json`, 'application/json', toJson([record]));
  else save(`${name}.md`, 'text/markdown', toMarkdown(record, strings.speakers));
}

/** Says how it went; on an error nothing is imported. */
export async function importFile(file: File, library: Library, ui: Ui): Promise<void> {
  ui.drawerOpen.value = false; // what is said about it would lie under a drawer
  try {
    if (file.size > MAX_IMPORT_BYTES) {
      throw new ImportError(strings.fileTooBig(file.size, MAX_IMPORT_BYTES));
    }
    const records = parseChats(await file.text());
    const added = await library.add(records);
    ui.say(strings.imported(added, records.length - added));
  } catch (error) {
    ui.warn(
      strings.importFailed(file.name, error instanceof Error ? error.message : String(error)),
    );
  }
}

function save(name: string, type: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  // The browser reads it after this returns.
  setTimeout(() => {
    URL.revokeObjectURL(address);
  }, 10_000);
}
