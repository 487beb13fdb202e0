import source from './logo.svg';

/** A φ; says nothing to screen readers, because the name stands next to it. */
export function Logo() {
  return <img class="logo" src={source} alt="" width={28} height={28} />;
}
