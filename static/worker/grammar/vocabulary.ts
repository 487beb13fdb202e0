/** The bytes of a vocabulary as a tree, so that tokens that begin alike are looked at together. */

/** Nodes in the order of a walk that goes down first. */
export class Vocabulary {
  /** Number of ids (V). */
  readonly size: number;
  /** Bytes of the longest token. */
  readonly longest: number;
  /** Of each node: its byte, its depth, and the node after all those below it. */
  readonly bytes: Uint8Array;
  readonly depths: Uint16Array;
  readonly ends: Int32Array;
  /** Ids by their bytes; those of node n are `ids[from[n]]` up to `ids[from[n + 1]]`. */
  readonly ids: Int32Array;
  readonly from: Int32Array;

  /** tokens: the bytes of each id; null for one that is no text. */
  constructor(tokens: readonly (Uint8Array | null)[]) {
    this.size = tokens.length;
    const texts = tokens.map((bytes) => (bytes ? latin1(bytes) : ''));
    const ids = [...texts.keys()].filter((id) => texts[id] !== '');
    ids.sort((a, b) => (texts[a]! < texts[b]! ? -1 : texts[a] === texts[b] ? a - b : 1));
    this.ids = Int32Array.from(ids);
    this.longest = ids.reduce((longest, id) => Math.max(longest, texts[id]!.length), 1);
    const bytes: number[] = [];
    const depths: number[] = [];
    const from: number[] = [];
    let before = '';
    ids.forEach((id, place) => {
      const text = texts[id]!;
      for (
        let depth = text === before ? text.length : common(before, text);
        depth < text.length;
        depth++
      ) {
        bytes.push(text.charCodeAt(depth));
        depths.push(depth);
        from.push(place); // ids of this node, if any, begin here: they come before those below it
      }
      before = text;
    });
    from.push(ids.length);
    this.bytes = Uint8Array.from(bytes);
    this.depths = Uint16Array.from(depths);
    this.ends = endsOf(this.depths);
    this.from = this.#fromOf(from, texts);
  }

  /** The node of a text, or -1. */
  find(text: Uint8Array): number {
    let node = -1;
    let child = 0;
    let end = this.bytes.length;
    for (const byte of text) {
      while (child < end && this.bytes[child] !== byte) child = this.ends[child]!;
      if (child >= end) return -1;
      node = child;
      end = this.ends[node]!;
      child = node + 1;
    }
    return node;
  }

  /** A node has the ids at its place whose text is as long as it is deep. */
  #fromOf(places: readonly number[], texts: readonly string[]): Int32Array {
    const from = Int32Array.from(places);
    for (let node = this.bytes.length - 1; node >= 0; node--) {
      const id = this.ids[from[node]!]!;
      if (texts[id]!.length !== this.depths[node]! + 1) from[node] = from[node + 1]!;
    }
    return from;
  }
}

function endsOf(depths: Uint16Array): Int32Array {
  const ends = new Int32Array(depths.length);
  const open: number[] = [];
  depths.forEach((depth, node) => {
    while (open.length > depth) ends[open.pop()!] = node;
    open.push(node);
  });
  for (const node of open) ends[node] = depths.length;
  return ends;
}

function common(one: string, other: string): number {
  let length = 0;
  while (length < one.length && one.charCodeAt(length) === other.charCodeAt(length)) length++;
  return length;
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
