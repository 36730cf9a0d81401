import { count, duration } from '../../shared/format';

/** How an agent's clock goes: `right`, `7.5 s fast`, `3.0 s slow`; differences below a tenth of a second are none. */
export function clockWords(offsetMs: number | null): string {
  if (offsetMs === null) return 'no time';
  if (Math.abs(offsetMs) < 100) return 'right';
  return `${duration(Math.abs(offsetMs))} ${offsetMs > 0 ? 'fast' : 'slow'}`;
}

/** `12 key, 3 rate`, the most first; a dash for nothing. */
export function refusedWords(refused: Record<string, number>): string {
  const reasons = Object.entries(refused).sort(([, a], [, b]) => b - a);
  return reasons.map(([reason, packets]) => `${count(packets)} ${reason}`).join(', ') || '–';
}

/** `12 came again and were not taken again`; nothing for none. */
export function repeatedWords(repeated: number): string {
  return repeated > 0 ? `${count(repeated)} came again and were not taken again` : '';
}
