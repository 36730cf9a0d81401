use memchr::memchr;

use crate::Headers;

/// How far into a message [`call_id`] looks, octets.
pub const QUICK_SCAN_LEN: usize = 8 * 1024;

/// The Call-ID, from the first 8 KiB of a message at most. It is what the capture agent correlates by when it is given
/// nothing else: no more is read than up to that header, and the start line is not checked.
pub fn call_id(raw: &[u8]) -> Option<&[u8]> {
    let scanned = &raw[..raw.len().min(QUICK_SCAN_LEN)];
    let start_line = &scanned[scanned.iter().position(|octet| !matches!(octet, b'\r' | b'\n'))?..];
    let mut headers = Headers::new(&start_line[memchr(b'\n', start_line)? + 1..]);
    let value = headers.find_call_id()?;
    // A value that the bound may have cut would be another call's.
    let may_be_cut = headers.rest().is_empty() && scanned.len() < raw.len();
    (!may_be_cut && !value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_id_is_found_in_long_compact_and_folded_form() {
        for raw in [
            &b"ACK sip:x SIP/2.0\r\nTo: y\r\nCall-ID: a@b\r\n\r\n"[..],
            b"ACK sip:x SIP/2.0\ni:a@b\n\n",
            b"ACK sip:x SIP/2.0\r\ncall-id :\r\n a@b\r\n\r\n",
            b"ACK sip:x SIP/2.0\r\nCall-ID: a@b",
            b"\r\n\r\nACK sip:x SIP/2.0\r\nCall-ID: a@b\r\n\r\n",
            b"ACK sip:x SIP/2.0\r\n i:a@b\r\n\r\n",
            b"ACK sip:x SIP/2.0\r\n\tCall-ID: a@b\r\n\r\n",
        ] {
            assert_eq!(call_id(raw), Some(&b"a@b"[..]), "{}", raw.escape_ascii());
            assert_eq!(crate::parse(raw).expect("SIP").call_id(), call_id(raw));
        }
    }

    #[test]
    fn call_id_in_a_body_or_absent_is_none() {
        assert_eq!(call_id(b"ACK sip:x SIP/2.0\r\n\r\nCall-ID: a@b\r\n"), None);
        assert_eq!(call_id(b"ACK sip:x SIP/2.0\r\nCall-ID:\r\n\r\n"), None);
        assert_eq!(call_id(b"Call-ID: a@b"), None);
        assert_eq!(call_id(b""), None);
    }

    #[test]
    fn call_id_cut_by_the_bound_is_none() {
        let message = |padding: usize| {
            let mut raw = b"ACK sip:x SIP/2.0\r\nSubject: ".to_vec();
            raw.resize(padding, b'x');
            raw.extend_from_slice(b"\r\nCall-ID: a@b\r\n\r\n");
            raw
        };
        assert_eq!(call_id(&message(QUICK_SCAN_LEN - 10)), None);
        assert_eq!(call_id(&message(QUICK_SCAN_LEN + 1)), None);
        assert_eq!(call_id(&message(QUICK_SCAN_LEN - 100)), Some(&b"a@b"[..]));
    }
}
