import type { JSX } from 'solid-js';

// Drawn here rather than fetched: 16 × 16, one stroke.
const PATHS = {
  check: 'M3 8.5 6.500 12 13 4.500',
  close: 'M4 4l8 8M12 4l-8 8',
  copy: 'M5.500 5.500V3h7.500v7.500h-2.500M3 5.500h7.500V13H3z',
  down: 'M4 6.500 8 10.500l4-4',
  download: 'M8 2.500v7.500M5 7.500l3 3 3-3M3 13h10',
  filter: 'M2.500 4h11M4.500 8h7M6.500 12h3',
  link: 'M6.800 9.200l2.400-2.400M7.500 4.800l1.300-1.300a2.600 2.600 0 013.700 3.700l-1.300 1.300M8.500 11.200l-1.300 1.300a2.600 2.600 0 01-3.700-3.700l1.300-1.300',
  reload: 'M13 8a5 5 0 11-1.500-3.600M13 2.500v2.500h-2.500',
  search: 'M7 2.500a4.500 4.500 0 100 9 4.500 4.500 0 000-9zM10.300 10.300l3.200 3.200',
  up: 'M4 9.500 8 5.500l4 4',
  warning: 'M8 2.500 14.500 13.500H1.500zM8 6.500v3.500M8 11.800v.2',
  wrap: 'M2.500 4h11M2.500 8h8.500a2 2 0 010 4.500H8M9.800 10.700 8 12.500l1.800 1.800M2.500 12.500h3',
} as const;

export function Icon(props: { name: keyof typeof PATHS }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d={PATHS[props.name]} />
    </svg>
  );
}
