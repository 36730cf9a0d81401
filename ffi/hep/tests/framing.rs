//! Where a packet ends in a stream.

use hep::FramingError;
use hep::framing::{Frame, frame};

#[test]
fn start_of_a_packet_says_what_is_missing() {
    for (bytes, needed) in
        [(&b""[..], 6), (b"H", 5), (b"HEP3", 2), (b"EEP3\0", 1), (b"HEP3\0\x0a", 4), (b"HEP3\x01\0", 250)]
    {
        assert_eq!(frame(bytes), Ok(Frame::Incomplete { needed }));
    }
}

#[test]
fn packet_is_complete_with_or_without_the_next_one() {
    assert_eq!(frame(b"HEP3\0\x06"), Ok(Frame::Complete(6)));
    assert_eq!(frame(b"HEP3\0\x07xHEP3"), Ok(Frame::Complete(7)));
}

#[test]
fn stream_that_is_not_hep3_is_given_up_at_the_first_wrong_octet() {
    for bytes in [&b"X"[..], b"HEX", b"GET / HTTP/1.1\r\n", b"\x02\x10\x02\x11", b"HEP2\0\x06", b"EEP1\0\x06"]
    {
        assert!(matches!(frame(bytes), Err(FramingError::Magic { .. })), "{}", bytes.escape_ascii());
    }
    let text = "stream cannot go on: expected HEP3, found octets [48, 45, 58, 00]";
    assert_eq!(frame(b"HEX").unwrap_err().to_string(), text);
}

#[test]
fn stream_with_an_impossible_length_is_given_up() {
    assert_eq!(frame(b"HEP3\0\x05"), Err(FramingError::Length { found: 5 }));
}
