//! What a trace filter asks for, and whether a message is it.

use sip::{Message as Sip, Party, StartLine, uri_host, uri_user};
use thiserror::Error;

use crate::collector::{UriError, collectors};
use crate::message::Message;
use crate::network::Network;
use crate::sessions::{Facts, MAX_SESSION_ID_BYTES};

/// Octets of the longest text of a filter.
pub const MAX_TEXT_BYTES: usize = 1024;
/// Seconds that a filter lives when nothing is said.
const DEFAULT_SECONDS: u32 = 600;
/// Seconds that a filter lives at most: a day.
const MAX_SECONDS: u32 = 86_400;

/// What must be true of the first message of a call. What is not given is true of every message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    caller: Option<Who>,
    callee: Option<Who>,
    network: Option<Network>,
    call_id: Option<Box<[u8]>>,
    method: Option<Box<[u8]>>,
    /// The correlation id of the calls.
    pub id: Option<Box<[u8]>>,
    /// Where they go.
    pub collector: Option<Box<[u8]>>,
}

/// Whom an operator names: `alice`, `alice@example.com`, `sip:alice@example.com`, `@example.com`, `tel:+4930123`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Who {
    user: Option<Box<[u8]>>,
    host: Option<Box<[u8]>>,
}

/// What is wrong with the words of a filter.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RuleError {
    /// No URI that [`CollectorUri`](crate::CollectorUri) understands.
    #[error("collector: {0}")]
    Collector(UriError),
    /// It would match everything.
    #[error("expected at least one of caller=, callee=, ip= and call_id=")]
    Everything,
    /// An end of the message that is none.
    #[error(
        "ip: expected an address, a network or a socket, such as 192.0.2.1, 10.0.0.0/8 or 192.0.2.1:5060"
    )]
    Ip,
    /// No natural number in its range.
    #[error("duration: expected 1 to 86400 seconds")]
    Duration,
    /// Longer than there is room for.
    #[error("{0}: too long")]
    Long(&'static str),
    /// No `name=value` that is known.
    #[error("\"{0}\": expected caller=, callee=, ip=, call_id=, method=, id=, collector= or duration=")]
    Name(String),
    /// No method.
    #[error("method: expected a method, such as INVITE")]
    Method,
    /// The same name again.
    #[error("{0}: given twice")]
    Twice(&'static str),
    /// A name without value, or with one that holds spaces or control characters.
    #[error("{0}: expected a value without spaces")]
    Value(&'static str),
    /// Neither a user nor a host.
    #[error("{0}: expected a user, user@host, @host, or a sip:, sips: or tel: URI")]
    Who(&'static str),
}

impl Rule {
    /// Reads words of the form `name=value`. Answers the rule, its text without the duration, and the duration in
    /// seconds.
    pub fn parse<'w>(words: impl IntoIterator<Item = &'w [u8]>) -> Result<(Self, Vec<u8>, u32), RuleError> {
        const NAMES: [&str; 8] =
            ["caller", "callee", "ip", "call_id", "method", "id", "collector", "duration"];
        let (mut rule, mut text, mut duration) = (Self::default(), Vec::new(), None);
        for word in words {
            let unknown = || RuleError::Name(String::from_utf8_lossy(word).into_owned());
            let equals = word.iter().position(|&octet| octet == b'=').ok_or_else(unknown)?;
            let (name, value) = (&word[..equals], &word[equals + 1..]);
            let name = NAMES.into_iter().find(|known| known.as_bytes() == name).ok_or_else(unknown)?;
            if value.is_empty()
                || value.iter().any(|octet| octet.is_ascii_whitespace() || octet.is_ascii_control())
            {
                return Err(RuleError::Value(name));
            }
            let who = || Who::parse(value).ok_or(RuleError::Who(name));
            let twice = match name {
                "caller" => rule.caller.replace(who()?).is_some(),
                "callee" => rule.callee.replace(who()?).is_some(),
                "ip" => {
                    let network = std::str::from_utf8(value).ok().and_then(Network::parse);
                    rule.network.replace(network.ok_or(RuleError::Ip)?).is_some()
                }
                "call_id" => rule.call_id.replace(value.into()).is_some(),
                "method" if !value.iter().all(u8::is_ascii_alphanumeric) => return Err(RuleError::Method),
                "method" => rule.method.replace(value.into()).is_some(),
                "id" if value.len() > MAX_SESSION_ID_BYTES => return Err(RuleError::Long(name)),
                "id" => rule.id.replace(value.into()).is_some(),
                "collector" => {
                    collectors(value).map_err(RuleError::Collector)?;
                    rule.collector.replace(value.into()).is_some()
                }
                _ => duration.replace(seconds(value).ok_or(RuleError::Duration)?).is_some(),
            };
            if twice {
                return Err(RuleError::Twice(name));
            }
            if name != "duration" {
                text.extend_from_slice(if text.is_empty() { b"" } else { b" " });
                text.extend_from_slice(word);
            }
            if text.len() > MAX_TEXT_BYTES {
                return Err(RuleError::Long(name));
            }
        }
        let empty = rule.caller.is_none()
            && rule.callee.is_none()
            && rule.network.is_none()
            && rule.call_id.is_none();
        if empty {
            return Err(RuleError::Everything);
        }
        Ok((rule, text, duration.unwrap_or(DEFAULT_SECONDS)))
    }

    /// Whether this message begins what is to be captured. `parties` are asked for only if the rule names one.
    pub fn matches<'m>(
        &self,
        message: &Message<'_>,
        facts: &Facts<'_>,
        parties: impl FnOnce() -> Option<Parties<'m>>,
    ) -> bool {
        // Of a call that topology hiding has given two, either is its own.
        let by_call_id = |call_id: &[u8]| [facts.message.call_id(), facts.call_id()].contains(&Some(call_id));
        let by_ends = |network: &Network| {
            [message.source, message.destination].into_iter().flatten().any(|end| network.contains(end))
        };
        let by_method =
            |wanted: &[u8]| facts.method().is_some_and(|method| method.eq_ignore_ascii_case(wanted));
        self.call_id.as_deref().is_none_or(by_call_id)
            && self.network.as_ref().is_none_or(by_ends)
            && self.method.as_deref().is_none_or(by_method)
            && (self.caller.is_none() && self.callee.is_none()
                || parties().is_some_and(|parties| self.matches_parties(&parties)))
    }

    fn matches_parties(&self, parties: &Parties<'_>) -> bool {
        let Parties { caller, callee, target } = parties;
        let by_caller = |who: &Who| caller.is_some_and(|caller| who.is(caller.user, caller.host));
        let by_callee = |who: &Who| {
            callee.is_some_and(|callee| who.is(callee.user, callee.host))
                || who.is(uri_user(target), uri_host(target))
        };
        self.caller.as_ref().is_none_or(by_caller) && self.callee.as_ref().is_none_or(by_callee)
    }
}

/// Who calls whom.
#[derive(Clone, Copy, Debug)]
pub struct Parties<'m> {
    caller: Option<Party<'m>>,
    callee: Option<Party<'m>>,
    /// The request URI.
    target: &'m [u8],
}

impl<'m> Parties<'m> {
    /// Said by a request outside a dialog: inside, the called side's requests have both the other way round.
    pub fn of(sip: &Sip<'m>) -> Option<Self> {
        let StartLine::Request { uri: target, .. } = sip.start() else { return None };
        let callee = sip.to();
        let outside = callee.is_none_or(|callee| callee.tag.is_none());
        outside.then(|| Self { caller: sip.from(), callee, target })
    }
}

impl Who {
    fn parse(text: &[u8]) -> Option<Self> {
        let (user, host) = if uri_user(text).is_some() || uri_host(text).is_some() {
            (uri_user(text), uri_host(text))
        } else if text.iter().any(|octet| b":;<>\"?".contains(octet)) {
            return None;
        } else {
            match text.iter().rposition(|&octet| octet == b'@') {
                Some(at) => (Some(&text[..at]), Some(&text[at + 1..])),
                None => (Some(text), None),
            }
        };
        let [user, host] = [user, host].map(|part| part.filter(|part| !part.is_empty()).map(Into::into));
        (user.is_some() || host.is_some()).then_some(Self { user, host })
    }

    /// Users are compared as they are written, hosts in any case. RFC 3261 §19.1.4.
    fn is(&self, user: Option<&[u8]>, host: Option<&[u8]>) -> bool {
        let by_user = |wanted: &[u8]| user == Some(wanted);
        let by_host = |wanted: &[u8]| host.is_some_and(|host| host.eq_ignore_ascii_case(wanted));
        self.user.as_deref().is_none_or(by_user) && self.host.as_deref().is_none_or(by_host)
    }
}

fn seconds(value: &[u8]) -> Option<u32> {
    value.first().filter(|octet| octet.is_ascii_digit())?;
    let seconds = std::str::from_utf8(value).ok()?.parse().ok()?;
    (1..=MAX_SECONDS).contains(&seconds).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Transport;

    fn parse(text: &str) -> Result<Rule, RuleError> {
        Rule::parse(text.split(' ').map(str::as_bytes)).map(|(rule, ..)| rule)
    }

    fn matches(filter: &str, raw: &str) -> bool {
        let message = Message {
            raw: raw.as_bytes(),
            source: Some("192.0.2.7:5070".parse().unwrap()),
            destination: Some("[2001:db8::1]:5060".parse().unwrap()),
            transport: Transport::Udp,
            captured_at: crate::now(),
            inner_call_id: None,
        };
        let facts = Facts::of(&message).unwrap();
        parse(filter).unwrap().matches(&message, &facts, || Parties::of(&facts.message))
    }

    fn invite(headers: &str) -> String {
        format!("INVITE sip:bob@Target.example SIP/2.0\r\n{headers}\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n\r\n")
    }

    #[test]
    fn callers_are_known_by_user_by_host_and_by_both() {
        let raw = invite("f: \"<sip:carol@x>\" <sip:alice:pw@Example.com:5060;lr>;tag=1\r\nTo: <sip:b2@h>");
        for filter in [
            "caller=alice",
            "caller=alice@example.com",
            "caller=sip:alice@EXAMPLE.com",
            "caller=@example.com",
            "caller=sip:example.com",
        ] {
            assert!(matches(filter, &raw), "{filter}");
        }
        for filter in ["caller=Alice", "caller=carol", "caller=alice@h", "caller=ali", "callee=alice"] {
            assert!(!matches(filter, &raw), "{filter}");
        }
        assert!(matches("caller=tel:+4930", &invite("From: <tel:+4930;phone-context=h>\r\nTo: <sip:b@h>")));
    }

    #[test]
    fn callees_are_known_by_to_and_by_request_uri() {
        let raw = invite("From: <sip:alice@h>;tag=1\r\nt: <sip:b2@other.example>");
        for filter in ["callee=bob", "callee=b2", "callee=bob@target.example", "callee=@other.example"] {
            assert!(matches(filter, &raw), "{filter}");
        }
        for filter in ["callee=bob@other.example", "callee=alice", "caller=bob"] {
            assert!(!matches(filter, &raw), "{filter}");
        }
    }

    #[test]
    fn inside_a_dialog_and_in_replies_nobody_is_caller_or_callee() {
        let within = invite("From: <sip:alice@h>;tag=1\r\nTo: <sip:bob@h>;tag=2");
        assert!(!matches("caller=alice", &within));
        assert!(matches("call_id=c1", &within));
        let reply = within.replace("INVITE sip:bob@Target.example SIP/2.0", "SIP/2.0 180 Ringing");
        assert!(!matches("caller=alice", &reply));
        assert!(matches("call_id=c1 method=invite", &reply));
    }

    #[test]
    fn either_end_may_lie_in_the_network_and_all_that_is_given_must_match() {
        let raw = invite("From: <sip:alice@h>\r\nTo: <sip:b@h>");
        for filter in [
            "ip=192.0.2.0/24",
            "ip=192.0.2.7",
            "ip=192.0.2.7:5070",
            "ip=2001:db8::/32",
            "ip=[2001:db8::1]:5060",
            "ip=192.0.2.7 caller=alice call_id=c1 method=INVITE",
        ] {
            assert!(matches(filter, &raw), "{filter}");
        }
        for filter in [
            "ip=192.0.3.0/24",
            "ip=192.0.2.7:5060",
            "ip=192.0.2.7 caller=bob",
            "call_id=c",
            "caller=alice method=BYE",
        ] {
            assert!(!matches(filter, &raw), "{filter}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_refused_with_its_reason() {
        for (text, expected) in [
            ("", "\"\": expected caller="),
            ("alice", "\"alice\": expected caller="),
            ("from=alice", "\"from=alice\": expected caller="),
            ("caller=", "caller: expected a value"),
            ("caller=@", "caller: expected a user"),
            ("caller=<sip:a@h>", "caller: expected a user"),
            ("caller=a caller=b", "caller: given twice"),
            ("ip=edge.example", "ip: expected an address"),
            ("ip=10.0.0.0/33", "ip: expected an address"),
            ("method=INVITE", "expected at least one of"),
            ("call_id=c method=IN,VITE", "method: expected a method"),
            ("call_id=c duration=0", "duration: expected 1 to 86400"),
            ("call_id=c duration=86401", "duration: expected 1 to 86400"),
            ("call_id=c duration=+5", "duration: expected 1 to 86400"),
            ("call_id=c duration=ten", "duration: expected 1 to 86400"),
            ("call_id=c collector=nowhere", "collector: expected udp:"),
            ("call_id=c id=a\u{7}", "id: expected a value"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        assert_eq!(parse(&format!("caller=a id={}", "x".repeat(193))), Err(RuleError::Long("id")));
        assert_eq!(parse(&format!("call_id={}", "x".repeat(1020))), Err(RuleError::Long("call_id")));
        assert!(parse(&format!("call_id={}", "x".repeat(1016))).is_ok());
    }

    proptest! {
        #[test]
        fn no_words_make_it_panic_and_its_text_says_the_same_again(
            words in prop::collection::vec("(caller|callee|ip|id|call_id|method|duration)=[!-~]{0,12}", 0..5)
        ) {
            if let Ok((rule, text, _)) = Rule::parse(words.iter().map(String::as_bytes)) {
                let again = Rule::parse(text.split(|&octet| octet == b' '));
                prop_assert_eq!(again.map(|(rule, ..)| rule), Ok(rule));
            }
        }

        #[test]
        fn no_octets_make_it_panic(words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4)) {
            let _ = Rule::parse(words.iter().map(Vec::as_slice));
        }
    }
}
