import { queryString, request } from '../shared/api/client';
import type { Call, ListedCall, CustomerView, Page, Session } from '../shared/api/types';

// The page's own address carries the token. It is used as the base of every request and put nowhere else.
const base = location.pathname.replace(/\/+$/, '');
const part = encodeURIComponent;

export const fetchView = (signal: AbortSignal) => request<CustomerView>(`${base}/view`, { signal });

export const fetchLinkedCall = (signal: AbortSignal) => request<Call>(`${base}/call`, { signal });

export const fetchSession = (signal: AbortSignal) => request<Session>(`${base}/session`, { signal });

export const fetchCalls = (cursor: string | null, signal: AbortSignal) =>
  request<Page<ListedCall>>(`${base}/calls${queryString({ cursor, limit: 100 })}`, { signal });

export const fetchCall = (callId: string, signal: AbortSignal) => request<Call>(`${base}/calls/${part(callId)}`, { signal });

/** `callId` only for a session's link: a call's link exports its call. */
export const exportHref = (format: 'pcap' | 'text', callId?: string) =>
  `${base}/export${queryString({ format, call_id: callId })}`;
