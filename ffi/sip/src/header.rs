use memchr::memchr;

use crate::start::is_token;

/// One header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Name as written, compact or not.
    pub name: &'a [u8],
    /// Value without white space around it. A folded value keeps its line breaks inside.
    pub value: &'a [u8],
}

impl Header<'_> {
    /// Whether this is the header of that name, compared in any case; the compact form counts as the long one.
    pub fn is(&self, name: &[u8]) -> bool {
        long_name(self.name).eq_ignore_ascii_case(long_name(name))
    }
}

/// The header fields of a message in their order. A line without a colon is passed over.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Headers<'a> {
    /// The header fields of what may be no SIP: they follow the first line, whatever that line is, unless it is one itself,
    /// as in a part of a message. Empty lines before it are passed over.
    pub fn of_anything(raw: &'a [u8]) -> Self {
        let start = raw.iter().position(|octet| !matches!(octet, b'\r' | b'\n')).unwrap_or(raw.len());
        let end = memchr(b'\n', &raw[start..]).map_or(raw.len(), |at| start + at + 1);
        // The name of a header is a token; a start line has a blank before any colon.
        let is_header = field(&raw[start..end])
            .is_some_and(|header| !header.name.is_empty() && header.name.iter().copied().all(is_token));
        Headers { rest: &raw[if is_header { start } else { end }..] }
    }

    /// From what follows the start line.
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Headers { rest }
    }

    /// The value of the first Call-ID, without a closer look at headers that begin with other letters.
    pub(crate) fn find_call_id(&mut self) -> Option<&'a [u8]> {
        loop {
            let line = self.next_line()?;
            // White space before a name is put up with, as elsewhere; behind the start line even a blank.
            if let [b'C' | b'c' | b'I' | b'i' | b'\r' | b'\x0c' | b' ' | b'\t', ..] = line
                && let Some(header) = field(line)
                && header.is(b"Call-ID")
            {
                return Some(header.value);
            }
        }
    }

    /// The next header that may be a Call-ID, CSeq, From, To or Via: of lines that begin with other letters no more is read
    /// than where they end.
    #[inline]
    pub(crate) fn next_of_identity(&mut self) -> Option<Header<'a>> {
        loop {
            let line = self.next_line()?;
            if let [
                b'C' | b'c' | b'F' | b'f' | b'T' | b't' | b'I' | b'i' | b'V' | b'v' | b'\r' | b'\x0c' | b' '
                | b'\t',
                ..,
            ] = line
                && let Some(header) = field(line)
            {
                return Some(header);
            }
        }
    }

    /// What has not been read yet; after the last header, the body.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes one logical line, folded lines included (RFC 3261 §7.3.1); `None` at the empty line, which is consumed,
    /// and at the end. Line ends are CR LF or a bare LF.
    fn next_line(&mut self) -> Option<&'a [u8]> {
        match self.rest {
            [] => return None,
            [b'\n', body @ ..] | [b'\r', b'\n', body @ ..] => {
                self.rest = body;
                return None;
            }
            _ => {}
        }
        let mut end = 0;
        loop {
            match memchr(b'\n', &self.rest[end..]) {
                Some(at) => end += at + 1,
                None => end = self.rest.len(),
            }
            if !matches!(self.rest.get(end), Some(b' ' | b'\t')) {
                let (line, rest) = self.rest.split_at(end);
                self.rest = rest;
                return Some(line);
            }
        }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    #[inline]
    fn next(&mut self) -> Option<Header<'a>> {
        loop {
            let line = self.next_line()?;
            if let Some(header) = field(line) {
                return Some(header);
            }
        }
    }
}

/// Takes a logical line apart; `None` without a colon.
#[inline]
fn field(line: &[u8]) -> Option<Header<'_>> {
    let colon = memchr(b':', line)?;
    Some(Header { name: line[..colon].trim_ascii(), value: line[colon + 1..].trim_ascii() })
}

/// The long form of a compact name, or the name itself. RFC 3261 §7.3.3 and the registry of header fields.
fn long_name(name: &[u8]) -> &[u8] {
    let &[letter] = name else { return name };
    match letter.to_ascii_lowercase() {
        b'a' => b"Accept-Contact",
        b'b' => b"Referred-By",
        b'c' => b"Content-Type",
        b'd' => b"Request-Disposition",
        b'e' => b"Content-Encoding",
        b'f' => b"From",
        b'i' => b"Call-ID",
        b'j' => b"Reject-Contact",
        b'k' => b"Supported",
        b'l' => b"Content-Length",
        b'm' => b"Contact",
        b'n' => b"Identity-Info",
        b'o' => b"Event",
        b'r' => b"Refer-To",
        b's' => b"Subject",
        b't' => b"To",
        b'u' => b"Allow-Events",
        b'v' => b"Via",
        b'x' => b"Session-Expires",
        b'y' => b"Identity",
        _ => name,
    }
}

/// The headers a [`Message`](crate::Message) remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    CallId,
    Contact,
    ContentLength,
    ContentType,
    CSeq,
    From,
    Server,
    To,
    UserAgent,
    Via,
}

/// Which of the remembered headers this is. By length first: nearly every header is settled by that.
#[inline]
pub(crate) fn known(name: &[u8]) -> Option<Known> {
    let is = |long: &[u8], known| name.eq_ignore_ascii_case(long).then_some(known);
    match name.len() {
        1 => match name[0].to_ascii_lowercase() {
            b'c' => Some(Known::ContentType),
            b'f' => Some(Known::From),
            b'i' => Some(Known::CallId),
            b'l' => Some(Known::ContentLength),
            b'm' => Some(Known::Contact),
            b't' => Some(Known::To),
            b'v' => Some(Known::Via),
            _ => None,
        },
        2 => is(b"To", Known::To),
        3 => is(b"Via", Known::Via),
        4 => is(b"From", Known::From).or_else(|| is(b"CSeq", Known::CSeq)),
        6 => is(b"Server", Known::Server),
        7 => is(b"Call-ID", Known::CallId).or_else(|| is(b"Contact", Known::Contact)),
        10 => is(b"User-Agent", Known::UserAgent),
        12 => is(b"Content-Type", Known::ContentType),
        14 => is(b"Content-Length", Known::ContentLength),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(raw: &[u8]) -> Vec<(&[u8], &[u8])> {
        Headers::new(raw).map(|header| (header.name, header.value)).collect()
    }

    #[test]
    fn folded_lines_belong_to_their_header() {
        let raw = b"Subject: one\r\n two\r\n\tthree\r\nTo: x\r\n\r\nbody: no\r\n";
        assert_eq!(pairs(raw), [(&b"Subject"[..], &b"one\r\n two\r\n\tthree"[..]), (b"To", b"x")]);
    }

    #[test]
    fn bare_line_feeds_end_lines_and_headers() {
        let mut headers = Headers::new(b"To: x\nFrom: y\n\nbody");
        assert_eq!(headers.by_ref().count(), 2);
        assert_eq!(headers.rest(), b"body");
    }

    #[test]
    fn lines_without_colon_and_cut_lines_are_tolerated() {
        assert_eq!(pairs(b"nonsense\r\nTo : x\r\nFrom: y"), [(&b"To"[..], &b"x"[..]), (b"From", b"y")]);
        assert_eq!(pairs(b":\r\n"), [(&b""[..], &b""[..])]);
        assert_eq!(pairs(b""), []);
    }

    #[test]
    fn headers_are_found_behind_any_first_line() {
        for raw in [&b"\r\n\r\nnonsense\r\nTo: x\r\n\r\nbody"[..], b"OPTIONS sip:a SIP/2.0\nTo: x\n\nbody"] {
            let mut headers = Headers::of_anything(raw);
            assert_eq!(headers.next(), Some(Header { name: b"To", value: b"x" }));
            assert_eq!(headers.next(), None);
            assert_eq!(headers.rest(), b"body");
        }
        for raw in [&b""[..], b"\r\n", b": x", b"SIP/2.0 200 To: x"] {
            assert_eq!(Headers::of_anything(raw).next(), None);
        }
        for raw in [&b"To: x"[..], b"\r\nTo : x\r\n"] {
            assert_eq!(Headers::of_anything(raw).next(), Some(Header { name: b"To", value: b"x" }));
        }
    }

    #[test]
    fn compact_and_long_names_are_one() {
        let header = Header { name: b"i", value: b"1" };
        assert!(header.is(b"call-id"));
        assert!(Header { name: b"CALL-ID", value: b"1" }.is(b"I"));
        assert!(!header.is(b"From"));
    }
}
