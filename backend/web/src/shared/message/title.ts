import type { Message } from '../api/types';

/** What a message is, in a few words: `INVITE`, `200 OK (INVITE)`, `Malformed`. */
export function messageTitle(message: Pick<Message, 'kind' | 'method' | 'status' | 'reason' | 'label'>): string {
  if (message.kind === 'malformed') return 'Malformed SIP';
  if (message.kind === 'other') return message.label;
  if (message.status === null) return message.method ?? 'Request';
  const reply = [message.status, message.reason].filter(Boolean).join(' ');
  return message.method ? `${reply} (${message.method})` : reply;
}
