/** Line drawings, 24 by 24. Decoration only: what carries one has a name of its own. */
const PATHS = {
  list: 'M4 6h16M4 12h16M4 18h10',
  plus: 'M12 5v14M5 12h14',
  more: 'M5 12h.01M12 12h.01M19 12h.01',
  pin: 'M12 17v4M8 4h8l-1 6 3 4H6l3-4z',
  previous: 'M14 6l-6 6 6 6',
  next: 'M10 6l6 6-6 6',
  clip: 'M20 11l-8.5 8.5a5 5 0 0 1-7-7L13 4a3.3 3.3 0 0 1 4.7 4.7l-8.6 8.6a1.7 1.7 0 0 1-2.4-2.4L14.5 7',
  close: 'M6 6l12 12M18 6L6 18',
} as const;

export function Icon({ name }: { readonly name: keyof typeof PATHS }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
