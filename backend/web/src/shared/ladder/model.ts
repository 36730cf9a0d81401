// From the API's ladder to what is drawn: hosts as columns, messages as rows with words and a tone, events as notes.

import type { LadderData, LadderRow, Message } from '../api/types';

/** How a row reads at a glance; each has a colour and is also said in words. */
export type Tone = 'request' | 'progress' | 'success' | 'redirect' | 'failure' | 'malformed' | 'other';

export interface LadderModelRow {
  kind: 'arrow' | 'note';
  /** Index into the call's messages. */
  message: number;
  from: number;
  to: number;
  label: string;
  /** Further words, the most telling first; those that do not fit are left out. */
  details: string[];
  tone: Tone;
  offsetMs: number;
  deltaMs: number;
  retransmission: boolean;
  /** Number of its transaction within the call, by which rows are coloured; 0 of a note. */
  transaction: number;
}

export interface LadderModel {
  hosts: string[];
  rows: LadderModelRow[];
}

export type Grouping = 'port' | 'address';

export function ladderModel(ladder: LadderData, messages: Message[], grouping: Grouping = 'port'): LadderModel {
  const { hosts, column } = columns(
    ladder.hosts.map((host) => host.address),
    grouping,
  );
  const transactions = new Map<string, number>();
  const rows = ladder.rows.flatMap((row): LadderModelRow[] => {
    const message = messages[row.message];
    const isNote = row.kind === 'note';
    const from = isNote ? 0 : column[row.from];
    const to = isNote ? hosts.length - 1 : column[row.to];
    if (!message || from === undefined || to === undefined) return [];
    return [
      {
        kind: row.kind,
        message: row.message,
        from,
        to,
        label: row.label,
        details: details(message, row.label),
        tone: tone(message),
        offsetMs: row.offset_ms,
        deltaMs: row.delta_ms,
        retransmission: row.retransmission,
        transaction: isNote ? 0 : transactionOf(row, message, transactions),
      },
    ];
  });
  return { hosts, rows };
}

/** The ladder without its notes; the time before a row is then that since the arrow before it. */
export function withoutNotes(ladder: LadderData): LadderData {
  const arrows = ladder.rows.filter((row) => row.kind !== 'note');
  const rows = arrows.map((row, index) => ({
    ...row,
    delta_ms: Math.max(row.offset_ms - (arrows[index - 1] ?? row).offset_ms, 0),
  }));
  return { ...ladder, rows };
}

/**
 * What belongs together at a glance: a request, its replies, and an ACK or CANCEL of the same number (RFC 3261 §17). A
 * proxy's branches of it count as the same. Each side of a dialog numbers its own requests, hence the From tag.
 */
function transactionOf(row: LadderRow, message: Message, known: Map<string, number>): number {
  const key = JSON.stringify([row.dialog, message.from_tag, message.cseq]);
  const number = known.get(key) ?? known.size;
  known.set(key, number);
  return number;
}

function columns(addresses: string[], grouping: Grouping): { hosts: string[]; column: number[] } {
  if (grouping === 'port') return { hosts: addresses, column: addresses.map((_, index) => index) };
  const hosts: string[] = [];
  const column = addresses.map((address) => {
    const { host } = splitAddress(address);
    const known = hosts.indexOf(host);
    return known >= 0 ? known : hosts.push(host) - 1;
  });
  return { hosts, column };
}

/** `10.0.0.1:5060` and `[::1]:5060` into host and port; the port is empty if there is none. */
export function splitAddress(address: string): { host: string; port: string } {
  const match = /^(\[.*\]|[^:]*):(\d+)$/.exec(address);
  return match ? { host: match[1] ?? address, port: match[2] ?? '' } : { host: address, port: '' };
}

export function tone(message: Pick<Message, 'kind' | 'status'>): Tone {
  if (message.kind === 'malformed' || message.kind === 'other') return message.kind;
  const { status } = message;
  if (status === null) return 'request';
  if (status < 200) return 'progress';
  if (status < 300) return 'success';
  if (status < 400) return 'redirect';
  return 'failure';
}

function details(message: Message, label: string): string[] {
  const found: string[] = [];
  if (message.kind === 'malformed') found.push('not valid SIP');
  if (message.kind === 'reply' && message.method && !label.includes(message.method)) found.push(message.method);
  if (carriesSdp(message.raw)) found.push('SDP');
  return found;
}

function carriesSdp(raw: string): boolean {
  const end = raw.search(/\r?\n\r?\n/);
  if (end < 0 || raw.slice(end).trim() === '') return false;
  return /^(?:content-type|c)[ \t]*:[ \t]*(?:application\/sdp|multipart\/)/im.test(raw.slice(0, end));
}
