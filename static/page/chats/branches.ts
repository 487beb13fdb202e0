import type { Chosen } from './record';

/** Something that follows something else. */
export interface Node {
  readonly id: string;
  readonly parentId: string | null;
}

/**
 * A chat whose questions and answers may have alternatives, and the one way through it that is
 * shown. Never changes: every step gives another one.
 */
export class Branches<T extends Node> {
  /** In the order they were made. */
  readonly nodes: readonly T[];
  readonly chosen: Chosen;
  readonly #children = new Map<string, T[]>();

  constructor(nodes: readonly T[] = [], chosen: Chosen = {}) {
    this.nodes = nodes;
    this.chosen = chosen;
    for (const node of nodes) {
      const key = keyOf(node.parentId);
      const siblings = this.#children.get(key);
      if (siblings) siblings.push(node);
      else this.#children.set(key, [node]);
    }
  }

  /** From the first question down, at each fork the chosen way, else the latest. */
  path(): readonly T[] {
    const path: T[] = [];
    for (let key = keyOf(null); ;) {
      const ways = this.#children.get(key) ?? [];
      const next = ways.find(({ id }) => id === this.chosen[key]) ?? ways.at(-1);
      if (!next) return path;
      path.push(next);
      key = next.id;
    }
  }

  /** What leads to the node, and the node. */
  pathTo(node: T): readonly T[] {
    const byId = new Map(this.nodes.map((other) => [other.id, other]));
    const path: T[] = [];
    for (let at: T | undefined = node; at; at = byId.get(at.parentId ?? '')) path.unshift(at);
    return path;
  }

  /** The node and its alternatives. */
  siblings({ parentId }: Node): readonly T[] {
    return this.#children.get(keyOf(parentId)) ?? [];
  }

  /** With one more node, which is shown. */
  with(node: T): Branches<T> {
    return new Branches([...this.nodes, node], this.#choosing(node));
  }

  /** Shown through this node. */
  showing(node: T): Branches<T> {
    return new Branches(this.nodes, this.#choosing(node));
  }

  #choosing({ id, parentId }: Node): Chosen {
    return { ...this.chosen, [keyOf(parentId)]: id };
  }
}

function keyOf(parentId: string | null): string {
  return parentId ?? '';
}
