// Numbers and times as people read them. Times come as RFC 3339 in UTC with microseconds and are shown in the
// zone of the reader, ISO order, 24 hours; `exactTime` keeps every digit for those who compare traces.

const pad = (n: number, width = 2) => String(n).padStart(width, '0');

/** Microseconds within the second: a `Date` only keeps milliseconds. */
function microseconds(time: string): number {
  const fraction = /\.(\d{1,9})/.exec(time)?.[1] ?? '';
  return Number(fraction.padEnd(6, '0').slice(0, 6));
}

function readable(time: string): Date | null {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? null : date;
}

/** `2026-11-21` in the reader's zone. */
export function day(time: string): string {
  const date = readable(time);
  return date ? `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}` : time;
}

/** `11-21` in the reader's zone, with the year unless it is this one. */
export function shortDay(time: string, now: Date = new Date()): string {
  const whole = day(time);
  return whole.startsWith(`${now.getFullYear()}-`) ? whole.slice(5) : whole;
}

/** `11:00:00.123` in the reader's zone. */
export function clock(time: string): string {
  const date = readable(time);
  if (!date) return time;
  const millis = Math.floor(microseconds(time) / 1000);
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(millis, 3)}`;
}

/** `2026-11-21 11:00:00` in the reader's zone. */
export function dateTime(time: string): string {
  return readable(time) ? `${day(time)} ${clock(time).slice(0, 8)}` : time;
}

/** `2026-11-21 11:00:00.123456 +01:00`, and the same in UTC on a second line. For hover texts. */
export function exactTime(time: string): string {
  const date = readable(time);
  if (!date) return time;
  const local = `${dateTime(time)}.${pad(microseconds(time), 6)} ${offset(date)}`;
  return `${local}\n${date.toISOString().slice(0, 19).replace('T', ' ')}.${pad(microseconds(time), 6)} UTC`;
}

function offset(date: Date): string {
  const minutes = -date.getTimezoneOffset();
  const sign = minutes < 0 ? '-' : '+';
  return `${sign}${pad(Math.floor(Math.abs(minutes) / 60))}:${pad(Math.abs(minutes) % 60)}`;
}

/** The distance from UTC at `at`: `UTC+01:00`. */
export function shortZone(at: Date = new Date()): string {
  const shift = offset(at);
  return shift === '+00:00' ? 'UTC' : `UTC${shift}`;
}

/** The reader's zone at `at`: `Europe/Berlin, UTC+01:00`. */
export function zone(at: Date = new Date()): string {
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const utc = shortZone(at);
  return name === undefined || name === 'UTC' || name === 'Etc/UTC' ? utc : `${name}, ${utc}`;
}

/** `842 ms`, `4.21 s`, `1:12`, `1:02:03`; a dash when unknown. */
export function duration(ms: number | null): string {
  if (ms === null) return '–';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 9_995) return `${(ms / 1000).toFixed(2)} s`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  const rest = `${pad(Math.floor(seconds / 60) % 60)}:${pad(seconds % 60)}`;
  const hours = Math.floor(seconds / 3600);
  return hours > 0 ? `${hours}:${rest}` : rest.replace(/^0/, '');
}

/** A distance between two rows, `0.042 ms` to `1:12`. Small ones keep microseconds. */
export function delta(ms: number): string {
  if (ms < 0) return `−${delta(-ms)}`;
  if (ms < 1) return `${ms.toFixed(3)} ms`;
  if (ms < 10) return `${ms.toFixed(2)} ms`;
  if (ms < 100) return `${ms.toFixed(1)} ms`;
  return duration(ms);
}

/** Seconds since the first row: `0.000`, `12.345`, `1:02.345`. */
export function offsetSeconds(ms: number): string {
  if (ms < 0) return `−${offsetSeconds(-ms)}`;
  const millis = Math.round(ms);
  if (millis < 60_000) return (millis / 1000).toFixed(3);
  return `${Math.floor(millis / 60_000)}:${((millis % 60_000) / 1000).toFixed(3).padStart(6, '0')}`;
}

/** `12,345`. */
export function count(n: number): string {
  return n.toLocaleString('en-GB');
}

/** `1 call`, `2 calls`. */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** `512 B`, `1.4 kB`. */
export function size(bytes: number): string {
  return bytes < 1000 ? `${bytes} B` : `${(bytes / 1000).toFixed(1)} kB`;
}

/** `in 23 h`, `3 min ago`: the largest unit alone. */
export function relative(time: string, now: Date = new Date()): string {
  const date = readable(time);
  if (!date) return time;
  const seconds = Math.round((date.getTime() - now.getTime()) / 1000);
  const distance = Math.abs(seconds);
  const text =
    distance < 60
      ? `${distance} s`
      : distance < 5400
        ? `${Math.round(distance / 60)} min`
        : distance < 129_600
          ? `${Math.round(distance / 3600)} h`
          : `${Math.round(distance / 86_400)} days`;
  return seconds < 0 ? `${text} ago` : `in ${text}`;
}
