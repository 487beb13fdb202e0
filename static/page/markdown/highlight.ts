/** Colours for code. Loaded when the first code comes, and never by whoever sees none. */
import bash from 'highlight.js/lib/languages/bash';
import c from 'highlight.js/lib/languages/c';
import cpp from 'highlight.js/lib/languages/cpp';
import csharp from 'highlight.js/lib/languages/csharp';
import css from 'highlight.js/lib/languages/css';
import diff from 'highlight.js/lib/languages/diff';
import go from 'highlight.js/lib/languages/go';
import ini from 'highlight.js/lib/languages/ini';
import java from 'highlight.js/lib/languages/java';
import javascript from 'highlight.js/lib/languages/javascript';
import json from 'highlight.js/lib/languages/json';
import powershell from 'highlight.js/lib/languages/powershell';
import python from 'highlight.js/lib/languages/python';
import rust from 'highlight.js/lib/languages/rust';
import sql from 'highlight.js/lib/languages/sql';
import typescript from 'highlight.js/lib/languages/typescript';
import xml from 'highlight.js/lib/languages/xml';
import yaml from 'highlight.js/lib/languages/yaml';
import { createLowlight } from 'lowlight';

const lowlight = createLowlight({
  ...{ bash, c, cpp, csharp, css, diff, go, ini, java, javascript, json, powershell, python, rust },
  ...{ sql, typescript, xml, yaml },
});

/** A piece of code and what it is (`keyword`, `string`), null for nothing in particular. */
export interface Piece {
  readonly text: string;
  readonly kind: string | null;
}

/** The code in pieces; null for a language that is not known here. */
export function highlight(code: string, language: string): readonly Piece[] | null {
  if (!lowlight.registered(language)) return null;
  return lowlight.highlight(language, code, { prefix: '' }).children.flatMap((node) => flat(node));
}

type Node = ReturnType<typeof lowlight.highlight>['children'][number];

/** Nested kinds are flattened: the innermost one colours the text. */
function flat(node: Node, kind: string | null = null): readonly Piece[] {
  if (node.type === 'text') return [{ text: node.value, kind }];
  if (node.type !== 'element') return [];
  const names = node.properties.className;
  const inner = Array.isArray(names) ? String(names[0]) : kind;
  return node.children.flatMap((child) => flat(child, inner));
}
