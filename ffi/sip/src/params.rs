use memchr::{memchr, memchr2};

/// Where `wanted` stands outside quotes. Within quotes a backslash takes the next octet's meaning (RFC 3261 §25.1,
/// `quoted-string`). An unclosed quote reaches to the end.
pub(crate) fn find_unquoted(value: &[u8], wanted: u8) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(wanted, b'"', &value[at..])?;
        if value[at] == wanted {
            return Some(at);
        }
        at = closing_quote(value, at)? + 1;
    }
}

/// Where the quote that opens at `open` is closed.
pub(crate) fn closing_quote(value: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        at += memchr2(b'"', b'\\', value.get(at..)?)?;
        if value[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// What stands before the first comma outside quotes and angle brackets: the first of several values in one header.
pub(crate) fn first_of_list(value: &[u8]) -> &[u8] {
    // Nearly always there is just one value, and this is much quicker than the walk below.
    if memchr(b',', value).is_none() {
        return value;
    }
    let mut at = 0;
    let mut in_brackets = false;
    while let Some(&octet) = value.get(at) {
        match octet {
            b'"' if !in_brackets => match closing_quote(value, at) {
                Some(close) => at = close,
                None => return value,
            },
            b'<' => in_brackets = true,
            b'>' => in_brackets = false,
            b',' if !in_brackets => return &value[..at],
            _ => {}
        }
        at += 1;
    }
    value
}

/// Value of the parameter `name` in `;a=b;c`, the name compared in any case. `None` if it is absent or has no value.
pub(crate) fn param<'a>(params: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = params;
    loop {
        rest = &rest[find_unquoted(rest, b';')? + 1..];
        let param = &rest[..find_unquoted(rest, b';').unwrap_or(rest.len())];
        let Some(equals) = memchr(b'=', param) else { continue };
        if param[..equals].trim_ascii().eq_ignore_ascii_case(name) {
            let value = param[equals + 1..].trim_ascii();
            return (!value.is_empty()).then_some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_within_quotes_do_not_separate() {
        assert_eq!(find_unquoted(br#""a;\";b";c"#, b';'), Some(8));
        assert_eq!(find_unquoted(br#""open;"#, b';'), None);
        assert_eq!(first_of_list(br#""a,b" <sip:a,b@c>;q=1, <sip:d>"#), br#""a,b" <sip:a,b@c>;q=1"#);
    }

    #[test]
    fn parameter_is_found_by_name_in_any_case() {
        assert_eq!(param(b"; lr ; TAG = abc ;x=y", b"tag"), Some(&b"abc"[..]));
        assert_eq!(param(br#";x="a;tag=no";tag=yes"#, b"tag"), Some(&b"yes"[..]));
        assert_eq!(param(b";tag=", b"tag"), None);
        assert_eq!(param(b";tagged=1", b"tag"), None);
        assert_eq!(param(b"tag=before-any-semicolon", b"tag"), None);
    }
}
