// A search as the address of the page and as a question to the API. Both use the API's own names.

import { queryString } from '../../shared/api/client';

export const FILTERS = [
  'call_id',
  'correlation_id',
  'from_user',
  'to_user',
  'request_user',
  'user_agent',
  'method',
  'status',
  'kind',
  'src',
  'dst',
  'transport',
  'agent_id',
  'protocol_type',
  'json',
  'header',
  'contains',
  'tenant',
] as const;

export type FilterName = (typeof FILTERS)[number];

export const FILTER_WORDS: Record<FilterName, string> = {
  call_id: 'Call-ID',
  correlation_id: 'Session',
  from_user: 'From user',
  to_user: 'To user',
  request_user: 'Request user',
  user_agent: 'User agent',
  method: 'Method',
  status: 'Status',
  kind: 'Kind',
  src: 'Source',
  dst: 'Destination',
  transport: 'Transport',
  agent_id: 'Agent',
  protocol_type: 'Protocol type',
  json: 'JSON value',
  header: 'Header',
  contains: 'Contains',
  tenant: 'Tenant',
};

export type View = 'calls' | 'messages';

export interface Search {
  view: View;
  filters: Partial<Record<FilterName, string>>;
  /** RFC 3339, relative such as `-15m`, or `null` for no bound. */
  since: string | null;
  until: string | null;
}

export const DEFAULT_SINCE = '-24h';

export const RANGES: { since: string; words: string }[] = [
  { since: '-5m', words: 'Last 5 minutes' },
  { since: '-15m', words: 'Last 15 minutes' },
  { since: '-1h', words: 'Last hour' },
  { since: '-6h', words: 'Last 6 hours' },
  { since: '-24h', words: 'Last 24 hours' },
  { since: '-7d', words: 'Last 7 days' },
  { since: '-30d', words: 'Last 30 days' },
];

export function parseSearch(query: string): Search {
  const params = new URLSearchParams(query);
  const filters: Search['filters'] = {};
  for (const name of FILTERS) {
    const value = params.get(name)?.trim();
    if (value) filters[name] = value;
  }
  const since = params.get('since');
  return askable({
    view: params.get('view') === 'messages' ? 'messages' : 'calls',
    filters,
    since: since === 'all' ? null : since || DEFAULT_SINCE,
    until: params.get('until') || null,
  });
}

/** Filters that only events can meet, so that they find no call. */
const EVENT_FILTERS: FilterName[] = ['protocol_type', 'json'];

const forEvents = (search: Search, name: FilterName) =>
  EVENT_FILTERS.includes(name) ? Boolean(search.filters[name]) : name === 'kind' && search.filters.kind === 'other';

/** The search as it can be asked: events are looked for among messages. */
export function askable(search: Search): Search {
  return FILTERS.some((name) => forEvents(search, name)) ? { ...search, view: 'messages' } : search;
}

/** The search for calls, without what no call can meet. */
export function forCalls(search: Search): Search {
  const kept = FILTERS.filter((name) => !forEvents(search, name)).map((name) => [name, search.filters[name]]);
  return { ...search, view: 'calls', filters: Object.fromEntries(kept) };
}

/** The address of a search; what is at its default is left out. */
export function searchHref(search: Search): string {
  const since = search.since === null ? 'all' : search.since === DEFAULT_SINCE ? null : search.since;
  const view = search.view === 'calls' ? null : search.view;
  return `/${queryString({ view, ...ordered(search.filters), since, until: search.until })}`;
}

/** How long the server looks before it tells how far it came. */
const STEP_MS = 1500;

/** The question to `GET /api/v1/calls` or `/messages`. */
export function apiQuery(search: Search, cursor: string | null, limit = 100): string {
  const { since, until } = search;
  return queryString({ ...ordered(search.filters), since, until, limit, cursor, time_limit_ms: STEP_MS });
}

function ordered(filters: Search['filters']): Record<string, string | undefined> {
  return Object.fromEntries(FILTERS.map((name) => [name, filters[name]?.trim()]));
}

/** What the form can tell to be wrong before the server is asked; `null` if nothing. */
export function mistake(search: Search): string | null {
  const { status, agent_id, protocol_type, json, header } = search.filters;
  if (status && !/^([1-6]\d\d|[1-6]xx)$/i.test(status)) return 'Status is a code such as 486, or a class such as 4xx.';
  if (agent_id && !/^\d{1,10}$/.test(agent_id)) return 'Agent is the number of a capture agent.';
  if (protocol_type && !(/^\d{1,3}$/.test(protocol_type) && Number(protocol_type) <= 255)) {
    return 'Protocol type is a number from 0 to 255, such as 100 for log lines.';
  }
  if (json && !/^[^=.]+(\.[^=.]+)*=./.test(json)) return 'A JSON value is path=value, such as report.ssrc=12.';
  if (header && !/^[^\s:]+\s*:\s*\S/.test(header)) return 'A header is Name: value, such as X-Tenant: acme.';
  if (isAbsolute(search.since) && isAbsolute(search.until) && search.since > search.until) {
    return 'The time range ends before it begins.';
  }
  return null;
}

export function isAbsolute(time: string | null): time is string {
  return time !== null && /^\d{4}-/.test(time);
}

const UNIT_MS: Record<string, number> = { s: 1e3, m: 60e3, h: 3600e3, d: 86_400e3, w: 604_800e3 };

/** RFC 3339, or relative to now → ms since the epoch; `null` for anything else. */
function instant(time: string | null, now: number): number | null {
  const ago = /^-(\d+)([smhdw])$/.exec(time ?? '');
  if (ago) return now - Number(ago[1]) * (UNIT_MS[ago[2] ?? ''] ?? 0);
  return isAbsolute(time) ? new Date(time).getTime() : null;
}

/** Which part of a range, 0 to 1, has been searched that is searched from its end back to here; `null` if it has no beginning. */
export function searchedShare(since: string | null, until: string | null, reached: string, now: number): number | null {
  const from = instant(since, now);
  if (from === null) return null;
  const to = instant(until, now) ?? now;
  const share = (to - new Date(reached).getTime()) / (to - from);
  return Number.isFinite(share) ? Math.min(Math.max(share, 0), 1) : null;
}

/** The time range in words. */
export function rangeWords(search: Pick<Search, 'since' | 'until'>, format: (time: string) => string): string {
  const preset = RANGES.find((range) => range.since === search.since);
  if (search.until === null) {
    if (search.since === null) return 'All times';
    return preset?.words ?? (isAbsolute(search.since) ? `Since ${format(search.since)}` : `Since ${search.since}`);
  }
  const until = isAbsolute(search.until) ? format(search.until) : search.until;
  if (search.since === null) return `Until ${until}`;
  return `${isAbsolute(search.since) ? format(search.since) : search.since} to ${until}`;
}

/** RFC 3339 in UTC → the text of a `datetime-local` field in the reader's zone. */
export function toLocalField(time: string | null): string {
  if (!isAbsolute(time)) return '';
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return '';
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19);
}

/** The text of a `datetime-local` field → RFC 3339 in UTC; `null` if empty. */
export function fromLocalField(text: string): string | null {
  if (text === '') return null;
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? null : date.toISOString().replace('.000Z', 'Z');
}
