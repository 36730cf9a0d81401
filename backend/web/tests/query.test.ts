import { describe, expect, test } from 'vitest';

import { sentence } from '../src/shared/api/client';
import { hostsText } from '../src/shared/call/hosts';
import { clockWords, refusedWords } from '../src/operator/agents/words';
import { linkState } from '../src/operator/links/state';
import { frameSnippet } from '../src/operator/links/snippet';
import { callHref, returnPlace, routeOf } from '../src/operator/routes';
import {
  apiQuery, askable, forCalls, fromLocalField, mistake, parseSearch, rangeWords, type Search, searchedShare, searchHref, toLocalField,
} from '../src/operator/search/query';

const search = (fields: Partial<Search> = {}): Search => ({ view: 'calls', filters: {}, since: '-24h', until: null, ...fields });

describe('a search in the address', () => {
  test('is empty at its defaults', () => {
    expect(searchHref(search())).toBe('/');
    expect(parseSearch('')).toEqual(search());
  });

  test('comes back as it was', () => {
    const asked = search({
      view: 'messages',
      filters: { call_id: 'a b&c=d@host', src: '192.0.2.0/24', status: '4xx' },
      since: '2026-11-21T10:00:00Z',
      until: '2026-11-21T11:00:00Z',
    });
    expect(parseSearch(searchHref(asked).slice(1))).toEqual(asked);
  });

  test('says "all" for no lower bound', () => {
    expect(searchHref(search({ since: null }))).toBe('/?since=all');
    expect(parseSearch('?since=all').since).toBeNull();
  });

  test('ignores names it does not know and empty values', () => {
    expect(parseSearch('?evil=1&from_user=&method=BYE').filters).toEqual({ method: 'BYE' });
  });
});

describe('a search for events', () => {
  test.each([{ kind: 'other' }, { protocol_type: '100' }, { json: 'a=b' }])('by %o is one for messages', (filters) => {
    const asked = search({ filters: { from_user: 'alice', ...filters } });
    expect(askable(asked).view).toBe('messages');
    expect(parseSearch(searchHref(asked).slice(1)).view).toBe('messages');
    expect(forCalls(asked)).toEqual(search({ filters: { from_user: 'alice' } }));
  });

  test('is not every search', () => {
    const asked = search({ filters: { kind: 'request' } });
    expect(askable(asked)).toEqual(asked);
    expect(forCalls({ ...asked, view: 'messages' })).toEqual(asked);
  });

  test('takes a type up to 255 and a path with a value', () => {
    for (const filters of [{ protocol_type: '256' }, { protocol_type: 'log' }, { json: 'a' }, { json: '=b' }, { json: 'a..b=c' }]) {
      expect(mistake(search({ filters }))).not.toBeNull();
    }
    expect(mistake(search({ filters: { protocol_type: '255', json: 'a.0.b=c=d' } }))).toBeNull();
  });
});

describe('a search as a question to the API', () => {
  test('uses the names of the API', () => {
    expect(apiQuery(search({ filters: { from_user: ' alice ' } }), null)).toBe('?from_user=alice&since=-24h&limit=100&time_limit_ms=1500');
  });

  test('carries the cursor of the page before', () => {
    expect(apiQuery(search({ since: null }), 'abc', 50)).toBe('?limit=50&cursor=abc&time_limit_ms=1500');
  });
});

describe('mistakes in the form', () => {
  test.each(['486', '4xx', '6XX'])('status %s is none', (status) => expect(mistake(search({ filters: { status } }))).toBeNull());
  test.each(['48', '7xx', 'ok'])('status %s is one', (status) => expect(mistake(search({ filters: { status } }))).not.toBeNull());
  test('an agent is a number', () => expect(mistake(search({ filters: { agent_id: 'kamailio' } }))).not.toBeNull());
  test.each(['X-Tenant: acme', 'i:a'])('header %s is none', (header) => expect(mistake(search({ filters: { header } }))).toBeNull());
  test.each(['X-Tenant', 'X Tenant: acme', ': acme', 'X-Tenant: '])('header %s is one', (header) => {
    expect(mistake(search({ filters: { header } }))).not.toBeNull();
  });
  test('a range may not end before it begins', () => {
    expect(mistake(search({ since: '2026-11-21T11:00:00Z', until: '2026-11-21T10:00:00Z' }))).not.toBeNull();
    expect(mistake(search({ since: '-15m', until: '2026-11-21T10:00:00Z' }))).toBeNull();
  });
});

describe('time fields', () => {
  test('are in the zone of the reader and come back as UTC', () => {
    expect(toLocalField('2026-11-21T10:00:00Z')).toBe('2026-11-21T11:00:00');
    expect(toLocalField('2026-07-01T10:00:00Z')).toBe('2026-07-01T12:00:00');
    expect(fromLocalField('2026-11-21T11:00:00')).toBe('2026-11-21T10:00:00Z');
  });

  test('may be empty', () => {
    expect(toLocalField('-15m')).toBe('');
    expect(fromLocalField('')).toBeNull();
  });

  test('read in words', () => {
    const short = (time: string) => time.slice(11, 16);
    expect(rangeWords({ since: '-15m', until: null }, short)).toBe('Last 15 minutes');
    expect(rangeWords({ since: null, until: null }, short)).toBe('All times');
    expect(rangeWords({ since: '2026-11-21T10:00:00Z', until: '2026-11-21T11:00:00Z' }, short)).toBe('10:00 to 11:00');
  });
});

describe('addresses of pages', () => {
  test('carry any Call-ID', () => {
    const callId = 'a/b?c#d%2F@host é';
    expect(routeOf(new URL(callHref(callId), 'http://x').pathname)).toEqual({ page: 'call', callId });
  });

  test('that do not exist are known as such', () => {
    expect(routeOf('/admin')).toEqual({ page: 'unknown' });
    expect(routeOf('/calls/%E0%A4%A')).toEqual({ page: 'unknown' });
    expect(routeOf('/links/1')).toEqual({ page: 'unknown' });
  });

  test('to return to after login stay on this server', () => {
    expect(returnPlace('?next=%2Fcalls%2Fa%3Fmessage%3D1')).toBe('/calls/a?message=1');
    expect(returnPlace('?next=https%3A%2F%2Fevil.example')).toBe('/');
    expect(returnPlace('?next=%2F%2Fevil.example')).toBe('/');
    expect(returnPlace('?next=%2F%5Cevil.example')).toBe('/');
    expect(returnPlace('')).toBe('/');
  });
});

test('the snippet for a portal escapes the address', () => {
  expect(frameSnippet('https://x/v/a"><script>&')).toContain('src="https://x/v/a&quot;>&lt;script>&amp;"');
});

test('links are active until they expire or are revoked', () => {
  const now = new Date('2026-11-21T10:00:00Z');
  const link = { expires_at: '2026-11-22T10:00:00Z', revoked_at: null };
  expect(linkState(link, now).words).toBe('Active');
  expect(linkState({ ...link, expires_at: '2026-11-21T09:00:00Z' }, now).words).toBe('Expired');
  expect(linkState({ ...link, revoked_at: '2026-11-21T09:00:00Z' }, now).words).toBe('Revoked');
});

test('errors of the API read as sentences', () => {
  expect(sentence('status: expected 486 or 4xx, found foo')).toBe('Status: expected 486 or 4xx, found foo.');
  expect(sentence(' ')).toBe('The server gave no reason.');
});

test('hosts on one machine name it once', () => {
  expect(hostsText(['127.0.0.1:5070', '127.0.0.1:5060'])).toBe('127.0.0.1 :5070 :5060');
  expect(hostsText(['192.0.2.1:5060', '192.0.2.2:5060'])).toBe('192.0.2.1:5060, 192.0.2.2:5060');
});

describe('words about agents', () => {
  test('a clock is right, fast or slow', () => {
    expect([null, 0, -99, 7500, -3000].map(clockWords)).toEqual(['no time', 'right', 'right', '7.50 s fast', '3.00 s slow']);
  });

  test('refusals stand with the most first', () => {
    expect(refusedWords({ rate: 3, key: 12 })).toBe('12 key, 3 rate');
    expect(refusedWords({})).toBe('–');
  });
});

describe('how far a search has come', () => {
  const now = Date.parse('2026-11-21T12:00:00Z');
  test.each([
    ['-1h', null, '2026-11-21T11:45:00Z', 0.25],
    ['2026-11-21T10:00:00Z', '2026-11-21T11:00:00Z', '2026-11-21T10:30:00Z', 0.5],
    ['-1h', null, '2026-11-21T10:00:00Z', 1],
    ['-1h', null, '2026-11-21T13:00:00Z', 0],
    [null, null, '2026-11-21T11:45:00Z', null],
    ['yesterday', null, '2026-11-21T11:45:00Z', null],
    ['-0s', null, '2026-11-21T12:00:00Z', null],
  ])('from %s to %s, back to %s: %s', (since, until, reached, share) => {
    expect(searchedShare(since, until, reached, now)).toBe(share);
  });
});
