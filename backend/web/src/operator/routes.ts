// The addresses of the operator's pages, as values. No browser needed.

export type Route =
  | { page: 'search' }
  | { page: 'call'; callId: string }
  | { page: 'session'; correlationId: string }
  | { page: 'agents' }
  | { page: 'links' }
  | { page: 'login' }
  | { page: 'unknown' };

export function routeOf(path: string): Route {
  const [, first = '', rest] = /^\/([^/]*)(?:\/(.+))?$/.exec(path) ?? [];
  if (first === '' && rest === undefined) return { page: 'search' };
  if (first === 'agents' && rest === undefined) return { page: 'agents' };
  if (first === 'links' && rest === undefined) return { page: 'links' };
  if (first === 'login' && rest === undefined) return { page: 'login' };
  const id = rest === undefined ? null : decoded(rest);
  if (first === 'calls' && id !== null) return { page: 'call', callId: id };
  if (first === 'sessions' && id !== null) return { page: 'session', correlationId: id };
  return { page: 'unknown' };
}

function decoded(part: string): string | null {
  try {
    return decodeURIComponent(part);
  } catch {
    return null;
  }
}

export const callHref = (callId: string) => `/calls/${encodeURIComponent(callId)}`;
export const sessionHref = (correlationId: string) => `/sessions/${encodeURIComponent(correlationId)}`;

/** Only an address on this server is a place to return to after login. */
export function returnPlace(query: string): string {
  const next = new URLSearchParams(query).get('next') ?? '/';
  return /^\/(?![/\\])/.test(next) ? next : '/';
}
