import { useEffect, useState } from 'preact/hooks';

import { CopyButton } from '../copy-button';
import { strings } from '../strings';
import type { Piece } from './highlight';

/** Colouring more than this would hold up the page. */
const MAX_COLOURED_CHARS = 30_000;

interface Props {
  readonly code: string;
  /** As written after the fence; may be empty. */
  readonly language: string;
  /** Whether more code may come. */
  readonly growing: boolean;
}

/** Code with its language and a button that copies it; coloured once it is whole. */
export function CodeBlock({ code, language, growing }: Props) {
  const pieces = usePieces(code, language, growing);
  return (
    <figure class="code" data-testid="code">
      <figcaption class="code-bar">
        <span>{language || strings.code}</span>
        <CopyButton text={code} label={strings.copyCode} />
      </figcaption>
      {/* Can be reached with the keyboard, because it may have to be scrolled. */}
      <pre tabIndex={0} aria-label={strings.codeLabel(language)}>
        <code>{pieces ? pieces.map((piece, i) => <Coloured key={i} piece={piece} />) : code}</code>
      </pre>
    </figure>
  );
}

function Coloured({ piece }: { readonly piece: Piece }) {
  return piece.kind === null ? piece.text : <span class={`hl-${piece.kind}`}>{piece.text}</span>;
}

/** The coloured code, null until it is there or when there is none. */
function usePieces(code: string, language: string, growing: boolean): readonly Piece[] | null {
  const [coloured, setColoured] = useState<{ code: string; pieces: readonly Piece[] } | null>(null);
  const wanted = !growing && language !== '' && code.length <= MAX_COLOURED_CHARS;
  useEffect(() => {
    if (!wanted) return undefined;
    let current = true;
    const load = async () => {
      const { highlight } = await import('./highlight');
      const pieces = highlight(code, language.toLowerCase());
      if (current && pieces) setColoured({ code, pieces });
    };
    // Without the file of colours the code is still there.
    load().catch(() => {});
    return () => {
      current = false;
    };
  }, [code, language, wanted]);
  return coloured?.code === code ? coloured.pieces : null;
}
