//! What must not leave the proxy is made unreadable on the way into the queue.
//!
//! Each octet of a masked value or body becomes an `x`; line ends, and the white space that folds a header, stay. So
//! the length is the same, Content-Length still holds, and who reads the message later finds every header where it was.

use sip::Headers;

use crate::config::{Config, is_token};

/// What one process needs to mask messages.
#[derive(Debug)]
pub(crate) struct Mask {
    headers: Vec<String>,
    body: BodyMask,
    /// Room for a message that is masked, used again and again.
    copy: Vec<u8>,
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

/// Whether messages could not be told apart or read without this header.
pub(crate) fn is_needed(name: &[u8]) -> bool {
    ["From", "To", "Call-ID", "CSeq", "Via", "Content-Length"].into_iter().any(|needed| is(name, needed))
}

/// Whether one of these is the header of that name.
pub(crate) fn names(headers: &[String], name: &str) -> bool {
    headers.iter().any(|header| is(header.as_bytes(), name))
}

/// Whether both name the same header; a compact form counts as the long one.
fn is(name: &[u8], other: &str) -> bool {
    sip::Header { name, value: b"" }.is(other.as_bytes())
}

impl Mask {
    /// `None` if nothing is to be masked.
    pub fn new(config: &Config) -> Option<Self> {
        config.masks().then(|| Self {
            headers: config.mask_headers.clone(),
            body: config.mask_body.clone(),
            copy: Vec::with_capacity(4096),
        })
    }

    /// The message with everything masked that is to be; `None` if there is nothing of that in it.
    #[inline(never)]
    pub fn apply(&mut self, raw: &[u8]) -> Option<&[u8]> {
        self.copy.clear();
        let mut headers = Headers::after_first_line(raw);
        let (mut typed, mut by_type) = (false, false);
        for header in headers.by_ref() {
            if self.headers.iter().any(|wanted| header.is(wanted.as_bytes())) {
                self.cover(raw, header.value);
            }
            if self.body.is_any() && header.is(b"Content-Type") {
                typed = true;
                by_type |= self.body.covers(header.value);
            }
        }
        // Of what has no type, nobody knows that it may be seen.
        if self.body.is_any() && (by_type || !typed) {
            self.cover(raw, headers.rest());
        }
        (!self.copy.is_empty()).then_some(&self.copy)
    }

    /// Masks a part of the message in the copy.
    fn cover(&mut self, raw: &[u8], part: &[u8]) {
        if part.is_empty() {
            return;
        }
        if self.copy.is_empty() {
            self.copy.extend_from_slice(raw);
        }
        let start = part.as_ptr().addr() - raw.as_ptr().addr();
        let Some(copy) = self.copy.get_mut(start..start + part.len()) else { return };
        for (number, line) in copy.split_inclusive_mut(|&octet| octet == b'\n').enumerate() {
            let covered = match line {
                [covered @ .., b'\r', b'\n'] | [covered @ .., b'\n'] => covered,
                covered => covered,
            };
            // At the start of a further line it is what makes that line part of the header.
            let folds =
                covered.iter().take_while(|octet| number > 0 && matches!(octet, b' ' | b'\t')).count();
            covered.iter_mut().skip(folds).for_each(|octet| *octet = b'x');
        }
    }
}

impl BodyMask {
    /// Reads the words of the setting; `None` if they are none.
    pub(crate) fn parse<'t>(words: impl Iterator<Item = &'t str>) -> Option<Self> {
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

    pub(crate) fn is_any(&self) -> bool {
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
        (is_token(main) && is_token(sub)).then(|| Self {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Settings;

    fn mask(headers: &str, body: &str) -> Mask {
        let (mask_headers, mask_body) = (headers.to_owned(), body.to_owned());
        Mask::new(&Config::check(Settings { mask_headers, mask_body, ..Settings::default() }).unwrap())
            .unwrap()
    }

    fn masked(headers: &str, body: &str, raw: &str) -> Option<String> {
        mask(headers, body).apply(raw.as_bytes()).map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    const MESSAGE: &str = "MESSAGE sip:b@h SIP/2.0\r\nAuthorization: Digest username=\"a\",\r\n  response=\"e0\"\r\n\
        s:hush\r\nproxy-authorization :  Basic Zm9v \r\nContent-Type: Text/Plain; charset=utf-8\r\n\r\nPIN 4711\r\n you\n";

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
            let mut mask = mask("Authorization,s", "all");
            let masked = mask.apply(&raw).unwrap_or(&raw);
            prop_assert_eq!(masked.len(), raw.len());
            prop_assert!(!masked.contains(&b'Q'), "{}", masked.escape_ascii());
            let ends = |bytes: &[u8]| bytes.iter().map(|&octet| octet == b'\n').collect::<Vec<_>>();
            prop_assert_eq!(ends(masked), ends(&raw));
            // Masking again finds the same places, and changes nothing.
            let once = masked.to_vec();
            prop_assert_eq!(mask.apply(&once).unwrap_or(&once), &once[..]);
        }

        #[test]
        fn no_octets_make_it_panic_and_the_length_stays(raw in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Some(masked) = mask("Authorization", "all").apply(&raw) {
                prop_assert_eq!(masked.len(), raw.len());
            }
        }

        #[test]
        fn what_no_setting_names_is_left_as_it_is(raw in with_secrets()) {
            let mut mask = mask("X-Other", "");
            prop_assert_eq!(mask.apply(&raw), None);
        }
    }
}
