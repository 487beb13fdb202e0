import { useEffect, useRef } from 'preact/hooks';

interface Props {
  readonly tex: string;
  readonly display: boolean;
}

/** A formula; its TeX until it is drawn, and where it is none. Give it another key for another formula. */
export function Formula({ tex, display }: Props) {
  const place = useRef<HTMLElement>(null);
  useEffect(() => {
    let current = true;
    const load = async () => {
      const { drawFormula } = await import('./formulas');
      const drawn = current ? drawFormula(tex, display) : null;
      if (drawn) place.current?.replaceChildren(drawn);
    };
    // Without what draws, the TeX is still there.
    load().catch(() => {});
    return () => {
      current = false;
    };
  }, [tex, display]);
  return (
    <span
      ref={place}
      class={display ? 'math display' : 'math'}
      data-testid="math"
      // Wide ones are scrolled, by keys too.
      tabIndex={display ? 0 : undefined}
    >
      {tex}
    </span>
  );
}
