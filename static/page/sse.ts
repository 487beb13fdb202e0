/** Server-sent events: the `data` of each, from text in pieces of any size. */
export class SseParser {
  /** The line being received. */
  #line = '';
  #data: string[] = [];
  /** The last piece ended in CR, so a LF that comes next belongs to it. */
  #afterCr = false;

  /** Data of the events that the text completes. Comments and other fields are skipped. */
  push(text: string): readonly string[] {
    const events: string[] = [];
    for (const line of this.#lines(text)) {
      const data = this.#take(line);
      if (data !== null) events.push(data);
    }
    return events;
  }

  #lines(text: string): readonly string[] {
    const rest = this.#afterCr && text.startsWith('\n') ? text.slice(1) : text;
    if (text !== '') this.#afterCr = text.endsWith('\r');
    const lines = (this.#line + rest).split(/\r\n|\n|\r/);
    this.#line = lines.pop() ?? '';
    return lines;
  }

  /** An empty line ends an event; its data, if any. */
  #take(line: string): string | null {
    if (line.startsWith('data:')) this.#data.push(line.slice('data:'.length).replace(/^ /, ''));
    if (line !== '' || this.#data.length === 0) return null;
    return this.#data.splice(0).join('\n');
  }
}
