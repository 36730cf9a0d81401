//! Making parts of a message unreadable.
//!
//! Each octet of a masked value or body becomes an `x`; line ends, and the white space that folds a header, stay. So
//! the length is the same, Content-Length still holds, and who reads the message later finds every header where it was.

use std::ops::Range;

use crate::Headers;
use crate::start::is_token;

/// What of a message is masked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mask {
    /// Names of headers whose values are masked, in any case; a compact form counts as the long one.
    pub headers: Vec<String>,
    /// Which bodies are masked as a whole.
    pub body: BodyMask,
    /// Beginnings of lines, such as `a=crypto:`; of other bodies, the rest of a line that begins with one is masked.
    pub body_lines: Vec<String>,
}

/// Which bodies are masked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyMask {
    /// Also those that nobody names.
    all: bool,
    types: Vec<ContentType>,
    except: Vec<ContentType>,
}

/// A content type, or `type/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ContentType {
    main: String,
    /// `None` for all of them.
    sub: Option<String>,
}

impl Mask {
    /// Whether messages could not be told apart or read without this header.
    pub fn is_needed(name: &str) -> bool {
        ["From", "To", "Call-ID", "CSeq", "Via", "Content-Length"].into_iter().any(|needed| is(name, needed))
    }

    /// Whether the header of this name is masked.
    pub fn names(&self, name: &str) -> bool {
        self.headers.iter().any(|header| is(header, name))
    }

    /// Whether anything is masked at all.
    pub fn is_any(&self) -> bool {
        !self.headers.is_empty() || self.body.is_any() || !self.body_lines.is_empty()
    }

    /// Names the places in a message that are to be masked, in their order; [`cover`] does it. What is no SIP is
    /// treated as if it were, as far as its lines look like headers.
    #[inline]
    pub fn find(&self, raw: &[u8], mut found: impl FnMut(Range<usize>)) {
        let mut part = |part: &[u8]| {
            if !part.is_empty() {
                let start = part.as_ptr().addr() - raw.as_ptr().addr();
                found(start..start + part.len());
            }
        };
        let mut headers = Headers::of_anything(raw);
        let (mut typed, mut by_type) = (false, false);
        for header in headers.by_ref() {
            if self.headers.iter().any(|wanted| header.is(wanted.as_bytes())) {
                part(header.value);
            }
            if self.body.is_any() && header.is(b"Content-Type") {
                typed = true;
                by_type |= self.body.covers(header.value);
            }
        }
        let body = headers.rest();
        // Of what has no type, nobody knows that it may be seen.
        if self.body.is_any() && (by_type || !typed) {
            part(body);
        } else if !self.body_lines.is_empty() {
            for line in body.split_inclusive(|&octet| octet == b'\n') {
                let begins = |start: &&String| {
                    let found = line.get(..start.len());
                    found.is_some_and(|found| found.eq_ignore_ascii_case(start.as_bytes()))
                };
                if let Some(start) = self.body_lines.iter().find(begins) {
                    part(&line[start.len()..]);
                }
            }
        }
    }
}

/// Makes a part of a message unreadable.
pub fn cover(part: &mut [u8]) {
    for (number, line) in part.split_inclusive_mut(|&octet| octet == b'\n').enumerate() {
        let covered = match line {
            [covered @ .., b'\r', b'\n'] | [covered @ .., b'\n'] => covered,
            covered => covered,
        };
        // At the start of a further line it is what makes that line part of the header.
        let folds = covered.iter().take_while(|octet| number > 0 && matches!(octet, b' ' | b'\t')).count();
        covered.iter_mut().skip(folds).for_each(|octet| *octet = b'x');
    }
}

/// Whether both name the same header; a compact form counts as the long one.
fn is(name: &str, other: &str) -> bool {
    crate::Header { name: name.as_bytes(), value: b"" }.is(other.as_bytes())
}

impl BodyMask {
    /// Reads content types: `all`, `none`, `text/plain`, `text/*`, and exceptions with a `!` before them. `None` if one of
    /// the words is none of these, or they make no sense together.
    pub fn parse<'t>(words: impl Iterator<Item = &'t str>) -> Option<Self> {
        let (mut mask, mut none) = (Self::default(), false);
        for word in words {
            if word.eq_ignore_ascii_case("none") {
                none = true;
            } else if word.eq_ignore_ascii_case("all") {
                mask.all = true;
            } else if let Some(except) = word.strip_prefix('!') {
                mask.except.push(ContentType::parse(except)?);
            } else {
                mask.types.push(ContentType::parse(word)?);
            }
        }
        // Exceptions of nothing, or something and nothing, are no wish that could be understood.
        let sensible = if none { mask == Self::default() } else { mask.is_any() || mask.except.is_empty() };
        sensible.then_some(mask)
    }

    /// Whether there is a body that is masked.
    pub fn is_any(&self) -> bool {
        self.all || !self.types.is_empty()
    }

    /// Whether a body of this Content-Type is masked. Of one with several parts, any could be what is to be masked; of
    /// one that is called nothing sensible, too.
    fn covers(&self, value: &[u8]) -> bool {
        let name = value.split(|&octet| octet == b';').next().unwrap_or_default().trim_ascii();
        let Some(named) = std::str::from_utf8(name).ok().and_then(ContentType::parse) else { return true };
        let among = |list: &[ContentType]| list.iter().any(|wanted| wanted.covers(&named));
        !among(&self.except)
            && (self.all || among(&self.types) || named.main.eq_ignore_ascii_case("multipart"))
    }
}

impl ContentType {
    fn parse(text: &str) -> Option<Self> {
        let (main, sub) = text.split_once('/')?;
        (is_name(main) && is_name(sub)).then(|| Self {
            main: main.to_owned(),
            sub: Some(sub).filter(|sub| *sub != "*").map(str::to_owned),
        })
    }

    fn covers(&self, other: &Self) -> bool {
        let same_sub =
            |wanted: &String| other.sub.as_ref().is_some_and(|sub| sub.eq_ignore_ascii_case(wanted));
        self.main.eq_ignore_ascii_case(&other.main) && self.sub.as_ref().is_none_or(same_sub)
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(headers: &str, body: &str) -> Mask {
        let words = |text: &'static str| text.split([',', ';']).filter(|word| !word.is_empty());
        let (headers, body) = (headers.to_owned().leak(), body.to_owned().leak());
        let headers = words(headers).map(str::to_owned).collect();
        Mask { headers, body: BodyMask::parse(words(body)).expect("content types"), body_lines: Vec::new() }
    }

    /// The masked message; `None` if nothing of it is.
    fn apply(mask: &Mask, raw: &[u8]) -> Option<Vec<u8>> {
        let mut copy = raw.to_vec();
        let mut any = false;
        mask.find(raw, |place| {
            any = true;
            cover(&mut copy[place]);
        });
        any.then_some(copy)
    }

    fn masked(headers: &str, body: &str, raw: &str) -> Option<String> {
        let masked = apply(&mask(headers, body), raw.as_bytes())?;
        Some(String::from_utf8(masked).expect("text"))
    }

    #[test]
    fn lines_of_a_body_are_covered_behind_what_they_begin_with() {
        let raw = "INVITE sip:b@h SIP/2.0\r\nc: application/sdp\r\na=crypto: here it is a header\r\n\r\n\
            m=audio 1 RTP/SAVP 0\r\na=crypto:1 AES_CM_128 inline:c2VjcmV0\r\nA=Crypto:2 y\na=crypt\r\n";
        let mask = Mask { body_lines: vec!["a=crypto:".into(), "k=".into()], ..mask("", "text/*") };
        let masked = apply(&mask, raw.as_bytes()).expect("something is masked");
        let expected = raw.replace("1 AES_CM_128 inline:c2VjcmV0", &"x".repeat(28)).replace(":2 y", ":xxx");
        assert_eq!(String::from_utf8(masked).expect("text"), expected);
        assert_eq!(
            apply(&mask, b"BYE sip:b@h SIP/2.0\r\n\r\na=crypto:"),
            Some(b"BYE sip:b@h SIP/2.0\r\n\r\nxxxxxxxxx".into())
        );
    }

    const MESSAGE: &str = "MESSAGE sip:b@h SIP/2.0\r\nAuthorization: Digest username=\"a\",\r\n  response=\"e0\"\r\n\
        s:hush\r\nproxy-authorization :  Basic Zm9v \r\nContent-Type: Text/Plain; charset=utf-8\r\n\r\nPIN 4711\r\n you\n";

    #[test]
    fn a_part_of_a_message_may_begin_with_what_is_masked() {
        let raw = "\r\nAuthorization: Digest x\r\nTo: y\r\n\r\nbody";
        let expected = raw.replace("Digest x", "xxxxxxxx");
        assert_eq!(masked("Authorization", "", raw).as_deref(), Some(expected.as_str()));
        assert_eq!(masked("Authorization", "", "Authorization sip:a SIP/2.0\r\n\r\n"), None);
    }

    #[test]
    fn values_of_headers_are_covered_in_any_spelling_and_the_layout_stays() {
        let expected = MESSAGE
            .replace("Digest username=\"a\",", &"x".repeat(20))
            .replace("response=\"e0\"", &"x".repeat(13))
            .replace("hush", "xxxx")
            .replace("Basic Zm9v", "xxxxxxxxxx");
        assert_eq!(
            masked("authorization,Proxy-Authorization,Subject", "", MESSAGE).as_deref(),
            Some(expected.as_str())
        );
    }

    #[test]
    fn bodies_are_covered_by_their_type() {
        let expected = MESSAGE.replace("PIN 4711\r\n you\n", "xxxxxxxx\r\n xxx\n");
        for (setting, is_masked) in [
            ("all", true),
            ("text/plain", true),
            ("TEXT/*", true),
            ("application/dtmf,text/*", true),
            ("all,!application/sdp", true),
            ("application/sdp", false),
            ("all,!text/plain", false),
            ("text/*;!text/plain", false),
        ] {
            let expected = is_masked.then_some(expected.as_str());
            assert_eq!(masked("", setting, MESSAGE).as_deref(), expected, "{setting}");
        }
    }

    #[test]
    fn what_has_several_parts_or_no_sensible_type_is_covered_unless_it_is_excepted() {
        let with = |content_type: &str| format!("INFO sip:b@h SIP/2.0\r\n{content_type}\r\n\r\n5\r\n");
        for content_type in [
            "c: multipart/mixed;boundary=b",
            "Content-Type: application/sdp, text/plain",
            "Content-Type: \u{fe}",
            "Content-Type:",
            "Content-Type: application/sdp\r\nContent-Type: text/plain",
            "X: none at all",
        ] {
            let raw = with(content_type);
            let expected = raw.replace("\r\n5\r\n", "\r\nx\r\n");
            assert_eq!(masked("", "text/plain", &raw), Some(expected), "{content_type}");
        }
        let raw = with("Content-Type: multipart/mixed;boundary=b");
        assert_eq!(masked("", "text/plain,!multipart/*", &raw), None);
        assert_eq!(masked("", "text/plain", &with("Content-Type: application/sdp")), None);
    }

    #[test]
    fn what_holds_nothing_to_mask_is_not_copied() {
        let raw = "BYE sip:b@h SIP/2.0\r\nAuthorization:\r\nContent-Type: text/plain\r\n\r\n";
        assert_eq!(masked("Authorization", "all", raw), None);
        assert_eq!(masked("Authorization", "all", ""), None);
    }

    #[test]
    fn a_message_whose_first_line_is_garbage_is_masked_too() {
        let raw = "\r\nGET / HTTP/1.1\nauthorization:a\n\nbody";
        let expected = "\r\nGET / HTTP/1.1\nauthorization:x\n\nxxxx";
        assert_eq!(masked("Authorization", "all", raw).as_deref(), Some(expected));
    }

    /// Text that looks like a message far enough, with a `Q` in whatever is to be masked and nowhere else.
    fn with_secrets() -> impl Strategy<Value = Vec<u8>> {
        let secret =
            prop::collection::vec(prop_oneof![Just(b'Q'), Just(b'\xff'), Just(b':'), Just(0)], 1..20)
                .prop_map(|octets| [&b"Q"[..], &octets].concat());
        let name = prop::sample::select(vec![
            "Authorization:",
            "AUTHORIZATION :",
            "authorization:\t",
            "s:",
            "Subject:",
        ]);
        let fold = prop::sample::select(vec!["", "\r\n ", "\n\t", "\r\n  \t"]);
        let line = prop::sample::select(vec![
            "To: <sip:a@h>",
            "no colon",
            "Call-ID",
            ":",
            "Content-Length: 5",
            "f:",
        ]);
        let end = prop::sample::select(vec!["\r\n", "\n"]);
        let header = (any::<bool>(), name, secret.clone(), fold, secret.clone(), line, end.clone()).prop_map(
            |(masked, name, one, fold, two, line, end)| {
                let value = [name.as_bytes(), &one, fold.as_bytes(), &two].concat();
                [if masked { value } else { line.as_bytes().to_vec() }, end.as_bytes().to_vec()].concat()
            },
        );
        let body = prop::option::of((end, secret).prop_map(|(end, body)| [end.as_bytes(), &body].concat()));
        (prop::collection::vec(header, 0..8), body).prop_map(|(headers, body)| {
            [&b"OPTIONS sip:h SIP/2.0\r\n"[..], &headers.concat(), &body.unwrap_or_default()].concat()
        })
    }

    proptest! {
        #[test]
        fn no_masked_octet_survives_and_the_length_and_all_lines_stay(raw in with_secrets()) {
            let mask = mask("Authorization,s", "all");
            let masked = apply(&mask, &raw).unwrap_or_else(|| raw.clone());
            prop_assert_eq!(masked.len(), raw.len());
            prop_assert!(!masked.contains(&b'Q'), "{}", masked.escape_ascii());
            let ends = |bytes: &[u8]| bytes.iter().map(|&octet| octet == b'\n').collect::<Vec<_>>();
            prop_assert_eq!(ends(&masked), ends(&raw));
            // Masking again finds the same places, and changes nothing.
            prop_assert_eq!(apply(&mask, &masked).unwrap_or_else(|| masked.clone()), masked);
        }

        #[test]
        fn no_octets_make_it_panic_and_the_length_stays(raw in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Some(masked) = apply(&mask("Authorization", "all"), &raw) {
                prop_assert_eq!(masked.len(), raw.len());
            }
        }

        #[test]
        fn what_no_setting_names_is_left_as_it_is(raw in with_secrets()) {
            prop_assert_eq!(apply(&mask("X-Other", ""), &raw), None);
        }
    }
}
