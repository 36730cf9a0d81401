import { describe, expect, test } from 'vitest';

import type { LadderData, Message } from '../src/shared/api/types';
import { fit, layoutLadder, visibleRows } from '../src/shared/ladder/layout';
import { type LadderModel, type LadderModelRow, ladderModel, splitAddress, tone, withoutNotes } from '../src/shared/ladder/model';

const message = (fields: Partial<Message>): Message => ({
  id: '1', captured_at: '2026-11-21T10:00:00.000000Z', src: '', dst: '', transport: 'udp', agent_id: 2001, agent_name: null,
  correlation_id: null, call_id: 'a', kind: 'request', protocol_type: 1, label: 'INVITE', method: 'INVITE', status: null, reason: null, cseq: 1,
  from_user: null, from_tag: null, to_user: null, to_tag: null, request_uri: null, user_agent: null, branch: null,
  size_bytes: 0,
  full_size_bytes: null, raw: '', raw_base64: null, ...fields,
});

const row = (fields: Partial<LadderModelRow>): LadderModelRow => ({
  kind: 'arrow', message: 0, from: 0, to: 1, label: 'INVITE', details: [], tone: 'request', offsetMs: 0, deltaMs: 0, retransmission: false, transaction: 0,
  ...fields,
});

const model = (hosts: number, rows: Partial<LadderModelRow>[]): LadderModel => ({
  hosts: Array.from({ length: hosts }, (_, index) => `192.0.2.${index + 1}:5060`),
  rows: rows.map(row),
});

describe('the ladder model', () => {
  const messages = [
    message({ raw: 'INVITE sip:b SIP/2.0\r\nc: application/sdp\r\n\r\nv=0\r\n' }),
    message({ kind: 'reply', status: 486, reason: 'Busy Here' }),
  ];
  const data: LadderData = {
    hosts: [{ address: '192.0.2.1:5060' }, { address: '192.0.2.2:5060' }, { address: '192.0.2.1:5080' }],
    rows: [
      { kind: 'arrow', message: 0, from: 0, to: 1, label: 'INVITE', offset_ms: 0, delta_ms: 0, retransmission: false, dialog: 0 },
      { kind: 'arrow', message: 1, from: 1, to: 2, label: '486 Busy Here', offset_ms: 2, delta_ms: 2, retransmission: false, dialog: 1 },
    ],
  };

  test('tells bodies with SDP and the method a reply answers', () => {
    expect(ladderModel(data, messages).rows.map((one) => one.details)).toEqual([['SDP'], ['INVITE']]);
  });

  test('joins ports of one address when asked to', () => {
    const grouped = ladderModel(data, messages, 'address');
    expect(grouped.hosts).toEqual(['192.0.2.1', '192.0.2.2']);
    expect(grouped.rows[1]).toMatchObject({ from: 1, to: 0 });
  });

  test('counts a request, its replies and its ACK as one transaction, and the other side as another', () => {
    const talk = [
      message({ from_tag: 'a', cseq: 1 }),
      message({ from_tag: 'a', cseq: 1, kind: 'reply', status: 200 }),
      message({ from_tag: 'a', cseq: 1, method: 'ACK' }),
      message({ from_tag: 'b', cseq: 1, method: 'BYE' }),
      message({ from_tag: 'a', cseq: 2, method: 'INFO' }),
    ];
    const rows = talk.map((_, index) => ({ ...data.rows[0]!, message: index }));
    expect(ladderModel({ hosts: data.hosts, rows }, talk).rows.map((one) => one.transaction)).toEqual([0, 0, 0, 1, 2]);
  });

  test('draws events as notes across all columns, however these are grouped', () => {
    const note = { kind: 'note' as const, message: 2, from: 0, to: 2, label: 'route 1', offset_ms: 1, delta_ms: 1, retransmission: false, dialog: null };
    const noted = { hosts: data.hosts, rows: [data.rows[0]!, note, { ...data.rows[1]!, delta_ms: 1 }] };
    const all = [...messages, message({ kind: 'other', protocol_type: 100, label: 'route 1' })];
    for (const [grouping, last] of [['port', 2], ['address', 1]] as const) {
      const row = ladderModel(noted, all, grouping).rows[1];
      expect(row).toMatchObject({ kind: 'note', from: 0, to: last, label: 'route 1', details: [], tone: 'other', transaction: 0 });
    }
    expect(ladderModel(noted, all).rows.map((one) => one.transaction)).toEqual([0, 0, 1]);
    expect(withoutNotes(noted).rows.map((one) => [one.message, one.delta_ms])).toEqual([[0, 0], [1, 2]]);
  });

  test('leaves out rows that point at no message or host', () => {
    const broken = { hosts: data.hosts, rows: [{ ...data.rows[0]!, message: 9 }, { ...data.rows[0]!, to: 9 }] };
    expect(ladderModel(broken, messages).rows).toEqual([]);
  });

  test('reads addresses of both families', () => {
    expect(splitAddress('[2001:db8::1]:5061')).toEqual({ host: '[2001:db8::1]', port: '5061' });
    expect(splitAddress('192.0.2.1:5060')).toEqual({ host: '192.0.2.1', port: '5060' });
    expect(splitAddress('2001:db8::1')).toEqual({ host: '2001:db8::1', port: '' });
  });

  test.each([
    [{ kind: 'request', status: null }, 'request'],
    [{ kind: 'reply', status: 180 }, 'progress'],
    [{ kind: 'reply', status: 200 }, 'success'],
    [{ kind: 'reply', status: 302 }, 'redirect'],
    [{ kind: 'reply', status: 603 }, 'failure'],
    [{ kind: 'malformed', status: null }, 'malformed'],
  ] as const)('gives %o the tone %s', (fields, expected) => expect(tone(fields)).toBe(expected));
});

describe('the ladder layout', () => {
  test('shares the width among the hosts, within bounds', () => {
    expect(layoutLadder(model(3, []), { width: 600 }).columns.map((column) => column.x)).toEqual([100, 300, 500]);
    expect(layoutLadder(model(10, []), { width: 600 }).width).toBe(10 * 132);
    expect(layoutLadder(model(2, []), { width: 2000 }).columnWidth).toBe(340);
  });

  test('draws requests from left to right and replies back', () => {
    const { rows } = layoutLadder(model(2, [{}, { from: 1, to: 0 }]), { width: 400 });
    expect(rows[0]).toMatchObject({ shape: 'right', line: 'M100 28H292' });
    expect(rows[1]).toMatchObject({ shape: 'left', line: 'M300 28H108' });
    expect(rows[0]!.head.startsWith('300,28')).toBe(true);
  });

  test('loops beside a host that sends to itself, inwards at the last one', () => {
    const { rows } = layoutLadder(model(2, [{ to: 0 }, { from: 1, to: 1 }]), { width: 400 });
    expect(rows[0]).toMatchObject({ shape: 'self', label: { anchor: 'start' } });
    expect(rows[1]).toMatchObject({ shape: 'self', label: { anchor: 'end' } });
    expect(rows[1]!.label.x).toBeLessThan(300);
  });

  test('frames a note around all lanes', () => {
    const { rows } = layoutLadder(model(2, [{ kind: 'note', from: 0, to: 1, label: 'x'.repeat(200) }]), { width: 400 });
    expect(rows[0]).toMatchObject({ shape: 'note', line: 'M16 7H384V33H16Z', head: '', label: { x: 23, anchor: 'start' } });
    expect(rows[0]!.label.text.endsWith('…')).toBe(true);
    expect(layoutLadder(model(1, [{ kind: 'note', from: 0, to: 0 }]), { width: 200 }).rows[0]).toMatchObject({ shape: 'note' });
  });

  test('stacks rows and opens a gap before a pause', () => {
    const layout = layoutLadder(model(2, [{}, { deltaMs: 30_000 }, { deltaMs: 1 }]));
    expect(layout.rows.map((one) => [one.top, one.height, one.gap])).toEqual([
      [0, 40, null],
      [40, 64, '30.0 s'],
      [104, 40, null],
    ]);
    expect(layout.height).toBe(144);
  });

  test('has eight colours and goes round', () => {
    const { rows } = layoutLadder(model(2, [{ transaction: 7 }, { transaction: 8 }]));
    expect(rows.map((one) => one.colour)).toEqual([7, 0]);
  });

  test('leaves out details before it cuts the label', () => {
    const words = { label: '200 OK', details: ['INVITE', 'SDP'], retransmission: false };
    expect(fit(words, 400)).toEqual({ text: '200 OK', detail: ' · INVITE · SDP' });
    expect(fit(words, 115)).toEqual({ text: '200 OK', detail: ' · INVITE' });
    expect(fit(words, 50)).toEqual({ text: '200 OK', detail: '' });
    expect(fit({ ...words, label: '407 Proxy Authentication Required' }, 80).text).toBe('407 Proxy …');
  });

  test('marks retransmissions in words', () => {
    expect(fit({ label: 'INVITE', details: [], retransmission: true }, 200).text).toBe('↻ INVITE');
  });

  test('has nothing to draw without hosts', () => {
    expect(layoutLadder({ hosts: [], rows: [] })).toMatchObject({ height: 0, columns: [], rows: [] });
  });
});

describe('the window on a long ladder', () => {
  const layout = layoutLadder(model(2, Array.from({ length: 5000 }, () => ({}))));

  test('holds the rows in view and some around them', () => {
    expect(visibleRows(layout, 0, 400, 10)).toEqual([0, 21]);
    expect(visibleRows(layout, 40_000, 400, 10)).toEqual([990, 1021]);
  });

  test('ends at the last row', () => {
    expect(visibleRows(layout, 199_900, 400, 10)[1]).toBe(5000);
  });

  test('of an empty ladder is empty', () => {
    expect(visibleRows(layoutLadder({ hosts: [], rows: [] }), 0, 400)).toEqual([0, 0]);
  });
});
