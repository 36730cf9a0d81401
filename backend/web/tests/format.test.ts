import { describe, expect, test } from 'vitest';

import {
  clock, dateTime, day, delta, duration, exactTime, offsetSeconds, relative, shortDay, size, zone,
} from '../src/shared/format';

// The tests run in Europe/Berlin; see vite.config.ts.
const WINTER = '2026-11-21T23:30:00.123456Z';
const SUMMER = '2026-07-01T10:00:00.000001Z';

describe('times', () => {
  test('are shown in the zone of the reader', () => {
    expect(day(WINTER)).toBe('2026-11-22');
    expect(clock(WINTER)).toBe('00:30:00.123');
    expect(dateTime(SUMMER)).toBe('2026-07-01 12:00:00');
  });

  test('keep microseconds and both zones where exactness is asked for', () => {
    expect(exactTime(WINTER)).toBe('2026-11-22 00:30:00.123456 +01:00\n2026-11-21 23:30:00.123456 UTC');
    expect(exactTime(SUMMER)).toBe('2026-07-01 12:00:00.000001 +02:00\n2026-07-01 10:00:00.000001 UTC');
  });

  test('without a fraction are whole seconds', () => {
    expect(clock('2026-11-21T10:00:00Z')).toBe('11:00:00.000');
  });

  test('name the zone in force at that time', () => {
    expect(zone(new Date(WINTER))).toBe('Europe/Berlin, UTC+01:00');
    expect(zone(new Date(SUMMER))).toBe('Europe/Berlin, UTC+02:00');
  });

  test('leave out the year while it is this one', () => {
    expect(shortDay(SUMMER, new Date(WINTER))).toBe('07-01');
    expect(shortDay('2025-07-01T10:00:00Z', new Date(WINTER))).toBe('2025-07-01');
  });

  test('that are none are shown as they came', () => {
    expect(clock('soon')).toBe('soon');
    expect(exactTime('soon')).toBe('soon');
  });
});

describe('durations', () => {
  test.each([
    [null, '–'],
    [0, '0 ms'],
    [842, '842 ms'],
    [4210, '4.21 s'],
    [9996, '10.0 s'],
    [59_960, '1:00'],
    [72_310, '1:12'],
    [3_723_000, '1:02:03'],
  ])('%s ms reads %s', (ms, words) => expect(duration(ms)).toBe(words));

  test.each([
    [0.042, '0.042 ms'],
    [1.384, '1.38 ms'],
    [12.04, '12.0 ms'],
    [129, '129 ms'],
    [-0.5, '−0.500 ms'],
  ])('a distance of %s ms reads %s', (ms, words) => expect(delta(ms)).toBe(words));

  test.each([
    [0, '0.000'],
    [12_345, '12.345'],
    [62_345, '1:02.345'],
  ])('an offset of %s ms reads %s', (ms, words) => expect(offsetSeconds(ms)).toBe(words));
});

test('what is far away is told in its largest unit', () => {
  const now = new Date('2026-11-21T10:00:00Z');
  expect(relative('2026-11-22T10:00:00Z', now)).toBe('in 24 h');
  expect(relative('2026-11-21T09:57:00Z', now)).toBe('3 min ago');
  expect(relative('2026-11-28T10:00:00Z', now)).toBe('in 7 days');
});

test('sizes above a thousand are told in kilobytes', () => {
  expect(size(512)).toBe('512 B');
  expect(size(1444)).toBe('1.4 kB');
});
