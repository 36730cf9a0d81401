import { describe, expect, test } from 'vitest';

import { plainLines, type Token, tokenize } from '../src/shared/message/tokens';

const INVITE = [
  'INVITE sip:bob@example.net SIP/2.0',
  'Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK-1;rport',
  'From: "Alice <b>Bold</b>" <sip:alice@example.org>;tag=a73',
  'CSeq: 1 INVITE',
  'Content-Type: application/sdp',
  '',
  'v=0',
  'm=audio 49172 RTP/AVP 8 0',
  'a=rtpmap:8 PCMA/8000',
  '',
].join('\r\n');

const kinds = (line: Token[] | undefined) => line?.map((token) => `${token.kind}:${token.text}`);
const joined = (raw: string) => tokenize(raw).map((line) => line.map((token) => token.text).join(''));

describe('a message cut into words', () => {
  test('joins to what it was, line by line', () => {
    expect(joined(INVITE).join('\r\n') + '\r\n').toBe(INVITE);
  });

  test('knows a request line', () => {
    expect(kinds(tokenize(INVITE)[0])).toEqual(['method:INVITE', 'text: ', 'uri:sip:bob@example.net', 'text: ', 'version:SIP/2.0']);
  });

  test('knows a status line', () => {
    expect(kinds(tokenize('SIP/2.0 486 Busy Here\r\n')[0])).toEqual([
      'version:SIP/2.0', 'text: ', 'status:486', 'text: ', 'reason:Busy Here',
    ]);
  });

  test('knows header names, parameters and quoted names', () => {
    const lines = tokenize(INVITE);
    expect(kinds(lines[1])).toContain('parameter:;branch');
    expect(kinds(lines[1])?.[0]).toBe('header:Via');
    expect(kinds(lines[2])).toContain('quoted:"Alice <b>Bold</b>"');
    expect(kinds(lines[2])).toContain('uri:sip:alice@example.org');
    expect(kinds(lines[3])).toContain('number:1');
  });

  test('knows session descriptions, after the empty line only', () => {
    const lines = tokenize(INVITE);
    expect(kinds(lines[7])?.slice(0, 3)).toEqual(['sdp-type:m', 'punctuation:=', 'sdp-media:audio']);
    expect(kinds(lines[8])).toContain('sdp-name:rtpmap');
    expect(kinds(tokenize('a=b\r\n')[0])).toEqual(['text:a=b']);
  });

  test('treats a folded line as the value of the header above', () => {
    const lines = tokenize('OPTIONS sip:a SIP/2.0\r\nSubject: one\r\n two: three\r\n\r\n');
    expect(lines[2]?.some((token) => token.kind === 'header')).toBe(false);
  });

  test('keeps markup as the text it is', () => {
    const hostile = 'INVITE sip:<script>alert(1)</script> SIP/2.0\r\nX: <img src=x onerror=alert(1)>\r\n\r\n';
    expect(joined(hostile)[1]).toBe('X: <img src=x onerror=alert(1)>');
  });

  test('makes controls and direction marks visible', () => {
    const line = tokenize('OPTIONS sip:a SIP/2.0\nX: a\u0000b\u202ec\r\n\r\n')[1];
    expect(line?.filter((token) => token.kind === 'escape').map((token) => token.text)).toEqual(['\\x00', '\\u202e']);
  });

  test('takes bare line feeds and text that is no SIP at all', () => {
    expect(joined('garbage\nmore')).toEqual(['garbage', 'more']);
    expect(joined('')).toEqual(['']);
  });

  test('is quick with a long hostile header', () => {
    const raw = `OPTIONS sip:a SIP/2.0\r\nX: ${'"\\'.repeat(20_000)}${';a'.repeat(20_000)}\r\n\r\n`;
    const start = performance.now();
    tokenize(raw);
    expect(performance.now() - start).toBeLessThan(1000);
  });
});

describe('what is not SIP', () => {
  const shown = (raw: string, base64: string | null = null) =>
    plainLines(raw, base64).map((line) => line.map((token) => token.text).join(''));

  test('is shown as it is, and no word of it coloured', () => {
    const [first, second] = plainLines('INVITE sip:x SIP/2.0\r\nroute: \u0007\r\n', null);
    expect(first).toEqual([{ kind: 'text', text: 'INVITE sip:x SIP/2.0' }]);
    expect(second?.map((token) => token.kind)).toEqual(['text', 'escape']);
    expect(shown('')).toEqual(['']);
  });

  test('is indented if it is JSON', () => {
    expect(shown('{"a":[1]}')).toEqual(['{', '  "a": [', '    1', '  ]', '}']);
    expect(shown('{"a":')).toEqual(['{"a":']);
  });

  test('is dumped if it is no text', () => {
    expect(shown('\ufffd', btoa('\x80\xc9A'))).toEqual([`0000  80 c9 41${' '.repeat(39)}  ..A`]);
    expect(shown('', btoa('x'.repeat(17)))[1]).toMatch(/^0010  78 /);
  });
});
