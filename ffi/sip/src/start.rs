use memchr::{memchr, memrchr};

/// A message whose first line is not one of SIP/2.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a SIP/2.0 request or status line, found none")]
pub struct NotSip;

/// First line of a message. RFC 3261 §7.1 and §7.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// Request line.
    Request {
        /// Method, as written.
        method: &'a [u8],
        /// Request-URI, as written.
        uri: &'a [u8],
    },
    /// Status line.
    Reply {
        /// Status code, 100–699.
        status: u16,
        /// Reason phrase; may be empty.
        reason: &'a [u8],
    },
}

const VERSION: &[u8] = b"SIP/2.0";

/// Reads the first line and no more.
pub fn start_line(raw: &[u8]) -> Result<StartLine<'_>, NotSip> {
    split_start(raw).map(|(start, _)| start)
}

/// Reads the first line, and says what comes after it. Empty lines before it are passed over (RFC 3261 §7.5).
pub(crate) fn split_start(raw: &[u8]) -> Result<(StartLine<'_>, &[u8]), NotSip> {
    let begin = raw.iter().position(|octet| !matches!(octet, b'\r' | b'\n')).ok_or(NotSip)?;
    let raw = &raw[begin..];
    let (line, rest) = match memchr(b'\n', raw) {
        Some(end) => (&raw[..end], &raw[end + 1..]),
        None => (raw, &raw[raw.len()..]),
    };
    let line = line.trim_ascii_end();
    reply(line).or_else(|| request(line)).map(|start| (start, rest)).ok_or(NotSip)
}

fn reply(line: &[u8]) -> Option<StartLine<'_>> {
    let after = strip_version(line)?.trim_ascii_start();
    let (code, reason) = after.split_first_chunk::<3>()?;
    if !code.iter().all(u8::is_ascii_digit) || reason.first().is_some_and(|&octet| octet != b' ') {
        return None;
    }
    let status = code.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    (100..700).contains(&status).then(|| StartLine::Reply { status, reason: reason.trim_ascii() })
}

/// What follows `SIP/2.0 `; a version is compared in any case (RFC 3261 §7.1).
fn strip_version(line: &[u8]) -> Option<&[u8]> {
    let (version, rest) = line.split_at_checked(VERSION.len())?;
    (version.eq_ignore_ascii_case(VERSION) && rest.first() == Some(&b' ')).then_some(rest)
}

/// The URI is what stands between method and version, spaces included: a broken one is still worth showing.
fn request(line: &[u8]) -> Option<StartLine<'_>> {
    let method_end = memchr(b' ', line)?;
    let version_start = memrchr(b' ', line)?;
    let (method, version) = (&line[..method_end], &line[version_start + 1..]);
    let uri = line.get(method_end..version_start)?.trim_ascii();
    let is_request = !method.is_empty()
        && method.iter().all(|&octet| is_token(octet))
        && version.eq_ignore_ascii_case(VERSION)
        && !uri.is_empty();
    is_request.then_some(StartLine::Request { method, uri })
}

/// RFC 3261 §25.1, `token`.
pub(crate) fn is_token(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_line_gives_method_and_uri() {
        let expected = StartLine::Request { method: b"INVITE", uri: b"sip:bob@example.com" };
        for line in [
            &b"INVITE sip:bob@example.com SIP/2.0\r\n"[..],
            b"INVITE sip:bob@example.com SIP/2.0\n",
            b"INVITE sip:bob@example.com SIP/2.0",
            b"\r\n\r\nINVITE sip:bob@example.com SIP/2.0\r\n",
            b"INVITE  sip:bob@example.com  sip/2.0 \r\n",
        ] {
            assert_eq!(start_line(line), Ok(expected), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn status_line_gives_code_and_reason() {
        let ok = StartLine::Reply { status: 200, reason: b"OK" };
        assert_eq!(start_line(b"SIP/2.0 200 OK\r\n"), Ok(ok));
        assert_eq!(start_line(b"SIP/2.0 486\r\n"), Ok(StartLine::Reply { status: 486, reason: b"" }));
        assert_eq!(start_line(b"SIP/2.0 486 \r\n"), Ok(StartLine::Reply { status: 486, reason: b"" }));
        let latin1 = StartLine::Reply { status: 404, reason: b"Nicht verf\xfcgbar" };
        assert_eq!(start_line(b"SIP/2.0 404 Nicht verf\xfcgbar\r\n"), Ok(latin1));
    }

    #[test]
    fn uri_with_spaces_is_kept_whole() {
        let expected = StartLine::Request { method: b"INVITE", uri: b"sip:a b@example.com" };
        assert_eq!(start_line(b"INVITE sip:a b@example.com SIP/2.0\r\n"), Ok(expected));
    }

    #[test]
    fn what_is_not_sip_is_refused() {
        for line in [
            &b""[..],
            b"\r\n\r\n",
            b"INVITE sip:bob",
            b"INVITE SIP/2.0",
            b" sip:bob@example.com SIP/2.0",
            b"SIP/2.0 99 Low\r\n",
            b"SIP/2.0 700 High\r\n",
            b"SIP/2.0 2000 Long\r\n",
            b"SIP/2.0 20",
            b"GET / HTTP/1.1\r\n",
            b"INV\xffITE sip:bob SIP/2.0\r\n",
            b"\0\0\0\0",
        ] {
            assert_eq!(start_line(line), Err(NotSip), "{}", line.escape_ascii());
        }
    }
}
