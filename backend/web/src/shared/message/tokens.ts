// A SIP message cut into words with a kind each, for colouring. The output is text to be put into text nodes; joining
// it gives the input back, except that line ends become rows and invisible characters become visible escapes.

export type TokenKind =
  | 'method'
  | 'uri'
  | 'version'
  | 'status'
  | 'reason'
  | 'header'
  | 'punctuation'
  | 'quoted'
  | 'parameter'
  | 'number'
  | 'sdp-type'
  | 'sdp-name'
  | 'sdp-media'
  | 'escape'
  | 'text';

export interface Token {
  kind: TokenKind;
  text: string;
}

export type Line = Token[];

/** Cuts a whole message. Never fails: what it does not know stays plain text. */
export function tokenize(raw: string): Line[] {
  const rows = raw.split(/\r\n|\n|\r(?!\n)/);
  // The line end that closes the last line is not a line of its own.
  if (rows.length > 1 && rows[rows.length - 1] === '') rows.pop();

  const lines: Line[] = [];
  let inBody = false;
  rows.forEach((row, index) => {
    if (inBody) {
      lines.push(bodyLine(row));
    } else if (index === 0) {
      lines.push(startLine(row));
    } else {
      lines.push(headerLine(row));
      inBody = row === '';
    }
  });
  return lines.map(showInvisible);
}

/** Cuts what is not SIP into lines: JSON indented, octets that are no text as a dump, anything else as it is. */
export function plainLines(raw: string, base64: string | null): Line[] {
  const text = base64 === null ? (indented(raw) ?? raw) : dump(base64);
  const rows = text.split(/\r\n|\n|\r(?!\n)/);
  if (rows.length > 1 && rows[rows.length - 1] === '') rows.pop();
  return rows.map((row) => showInvisible(pieces(['text', row])));
}

function indented(raw: string): string | null {
  if (!/^\s*[[{]/.test(raw)) return null;
  try {
    return JSON.stringify(JSON.parse(raw), null, 2);
  } catch {
    return null;
  }
}

/** Sixteen octets a row: place, hexadecimal, and what of them is printable. */
function dump(base64: string): string {
  const octets = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const rows: string[] = [];
  for (let start = 0; start < octets.length; start += 16) {
    const part = [...octets.subarray(start, start + 16)];
    const hex = part.map((octet) => octet.toString(16).padStart(2, '0')).join(' ');
    const printable = part.map((octet) => (octet >= 0x20 && octet < 0x7f ? String.fromCharCode(octet) : '.')).join('');
    rows.push(`${start.toString(16).padStart(4, '0')}  ${hex.padEnd(47)}  ${printable}`);
  }
  return rows.join('\n');
}

function startLine(row: string): Line {
  const request = /^([A-Z0-9._!%*+`'~-]+)( +)(\S+)( +)(SIP\/\d\.\d)(.*)$/i.exec(row);
  if (request) return pieces(['method', request[1]], ['text', request[2]], ['uri', request[3]], ['text', request[4]], ['version', request[5]], ['text', request[6]]);
  const reply = /^(SIP\/\d\.\d)( +)(\d{3})( ?)(.*)$/i.exec(row);
  if (reply) return pieces(['version', reply[1]], ['text', reply[2]], ['status', reply[3]], ['text', reply[4]], ['reason', reply[5]]);
  return pieces(['text', row]);
}

function headerLine(row: string): Line {
  // A folded line carries on the value of the header above.
  const header = /^([^\s:]+)([ \t]*:)(.*)$/.exec(row);
  if (!header || /^[ \t]/.test(row)) return value(row);
  return [...pieces(['header', header[1]], ['punctuation', header[2]]), ...value(header[3] ?? '')];
}

// Every alternative consumes what it looked at, so that a hostile line costs no more than its length: hence also the
// closing quote that may be missing.
const VALUE =
  /("(?:[^"\\]|\\.)*"?)|((?:sips?|tel|urn|https?):[^\s<>"';,]+)|([;&?][A-Za-z][\w.-]*)(?=[=;,&>\s]|$)|([<>,;=])|((?<![\w.:@-])\d+(?![\w.:@-]))/g;

function value(text: string): Line {
  const line: Line = [];
  let end = 0;
  for (const match of text.matchAll(VALUE)) {
    if (match.index > end) line.push({ kind: 'text', text: text.slice(end, match.index) });
    const [whole, quoted, uri, parameter, punctuation] = match;
    const kind: TokenKind = quoted ? 'quoted' : uri ? 'uri' : parameter ? 'parameter' : punctuation ? 'punctuation' : 'number';
    line.push({ kind, text: whole });
    end = match.index + whole.length;
  }
  if (end < text.length) line.push({ kind: 'text', text: text.slice(end) });
  return line;
}

function bodyLine(row: string): Line {
  const sdp = /^([a-z])(=)(.*)$/.exec(row);
  if (!sdp) return pieces(['text', row]);
  const [, type, equals, rest = ''] = sdp;
  const start = pieces(['sdp-type', type], ['punctuation', equals]);
  if (type === 'm') {
    const media = /^(\S+)( +)(\d+)(.*)$/.exec(rest);
    if (media) return [...start, ...pieces(['sdp-media', media[1]], ['text', media[2]], ['number', media[3]], ['text', media[4]])];
  }
  if (type === 'a') {
    const attribute = /^([^:]+)(:?)(.*)$/.exec(rest);
    if (attribute) return [...start, ...pieces(['sdp-name', attribute[1]], ['punctuation', attribute[2]], ['text', attribute[3]])];
  }
  return [...start, ...pieces(['text', rest])];
}

function pieces(...parts: [TokenKind, string | undefined][]): Line {
  return parts.flatMap(([kind, text]) => (text ? [{ kind, text }] : []));
}

// Controls, zero-width characters and those that turn the writing direction: in a trace they are either damage or an
// attempt to make one thing look like another, so the reader must see them.
const INVISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffd]/g;

function showInvisible(line: Line): Line {
  return line.flatMap((token) => {
    const cut: Line = [];
    let end = 0;
    for (const match of token.text.matchAll(INVISIBLE)) {
      if (match.index > end) cut.push({ kind: token.kind, text: token.text.slice(end, match.index) });
      cut.push({ kind: 'escape', text: escape(match[0]) });
      end = match.index + match[0].length;
    }
    if (end === 0) return [token];
    if (end < token.text.length) cut.push({ kind: token.kind, text: token.text.slice(end) });
    return cut;
  });
}

function escape(character: string): string {
  const code = character.charCodeAt(0);
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
}
