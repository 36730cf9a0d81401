import { ApiError, queryString, request, type RequestOptions } from '../shared/api/client';
import type { Agents, Call, ListedCall, CreatedLink, Link, Me, Message, NewLink, Page, Peers, Quarantine, Session } from '../shared/api/types';
import { requireLogin } from './account';

const V1 = '/api/v1';

async function ask<T>(path: string, options: RequestOptions = {}): Promise<T> {
  try {
    return await request<T>(V1 + path, options);
  } catch (cause) {
    if (cause instanceof ApiError && cause.status === 401) requireLogin();
    throw cause;
  }
}

const part = encodeURIComponent;

export const fetchCalls = (query: string, signal: AbortSignal) => ask<Page<ListedCall>>(`/calls${query}`, { signal });

export const fetchMessages = (query: string, signal: AbortSignal) => ask<Page<Message>>(`/messages${query}`, { signal });

export const fetchCall = (callId: string, signal: AbortSignal) => ask<Call>(`/calls/${part(callId)}`, { signal });

export const fetchSession = (id: string, signal: AbortSignal) => ask<Session>(`/sessions/${part(id)}`, { signal });

export const fetchSessionCalls = (id: string, cursor: string | null, signal: AbortSignal) =>
  ask<Page<ListedCall>>(`/sessions/${part(id)}/calls${queryString({ cursor, limit: 100 })}`, { signal });

export const fetchAgents = (signal: AbortSignal) => ask<Agents>('/agents', { signal });

export const fetchPeers = (signal: AbortSignal) => ask<Peers>('/peers', { signal });

export const fetchQuarantine = (signal: AbortSignal) => ask<Quarantine>('/quarantine', { signal });

export const fetchLinks = (cursor: string | null, signal: AbortSignal) =>
  ask<Page<Link>>(`/links${queryString({ cursor, limit: 100 })}`, { signal });

export const createLink = (link: NewLink) => ask<CreatedLink>('/links', { method: 'POST', body: link });

export const revokeLink = (id: string) => ask<null>(`/links/${part(id)}`, { method: 'DELETE' });

export const exportHref = (callId: string, format: 'pcap' | 'text' | 'json') =>
  `${V1}/calls/${part(callId)}/export${queryString({ format })}`;

/** Who is asking. Unlike the others this does not lead to the login page: it is how that page finds out. */
export const fetchMe = () => request<Me>(`${V1}/me`);

export const logIn = (name: string, password: string) =>
  request<unknown>(`${V1}/login`, { method: 'POST', body: { name, password } });

export const logOut = () => request<unknown>(`${V1}/logout`, { method: 'POST' });
