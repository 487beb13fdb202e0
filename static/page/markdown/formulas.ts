/** Draws formulas as MathML. Fetched with the first one. */
import temml from 'temml';
import 'temml/dist/Temml-Local.css';

/** Null for what is no TeX. Links and pictures in a formula are refused. */
export function drawFormula(tex: string, display: boolean): DocumentFragment | null {
  const place = document.createElement('span');
  try {
    temml.render(tex, place, { displayMode: display, throwOnError: true, trust: false });
  } catch {
    return null;
  }
  const drawn = document.createDocumentFragment();
  drawn.append(...place.childNodes);
  return drawn;
}
