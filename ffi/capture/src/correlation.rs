//! Under which id a message is found again.

use crate::message::Message;

/// Octets of a correlation id that are kept; a longer one is cut, because it takes room from the message itself.
pub const MAX_CORRELATION_BYTES: usize = hep::Template::MAX_CORRELATION_LEN;

/// Where ids come from; the first that is there and not empty wins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// What the script gave.
    pub given: Option<&'a [u8]>,
    /// What the session of the message is known under.
    pub session: Option<&'a [u8]>,
    /// The header that the configuration names.
    pub header: Option<&'a [u8]>,
    /// What the host made of the configuration's template.
    pub template: Option<&'a [u8]>,
}

impl<'a> Sources<'a> {
    /// The id that somebody decided on; `None` leaves it to the Call-ID.
    pub fn chosen(&self) -> Option<&'a [u8]> {
        [self.given, self.session, self.header, self.template].into_iter().flatten().find(|id| !id.is_empty())
    }
}

/// The id that was chosen, else the Call-ID by which the proxy knows the message; `None` if it has neither.
#[inline]
pub fn correlation_id<'a>(chosen: Option<&'a [u8]>, message: &Message<'a>) -> Option<&'a [u8]> {
    let call_id = || message.call_id().filter(|id| !id.is_empty());
    let id = chosen.filter(|id| !id.is_empty()).or_else(call_id)?;
    Some(id.get(..MAX_CORRELATION_BYTES).unwrap_or(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: abc@host\r\n\r\n";

    fn message(raw: &[u8]) -> Message<'_> {
        Message { raw, ..Message::NONE }
    }

    #[test]
    fn a_chosen_id_wins_and_an_empty_one_counts_as_none() {
        assert_eq!(correlation_id(Some(b"session-1"), &message(RAW)), Some(&b"session-1"[..]));
        assert_eq!(correlation_id(Some(b""), &message(RAW)), Some(&b"abc@host"[..]));
        assert_eq!(correlation_id(None, &message(RAW)), Some(&b"abc@host"[..]));
    }

    #[test]
    fn the_script_comes_before_the_session_the_header_and_the_template() {
        let mut sources = Sources {
            given: Some(b"given"),
            session: Some(b"session"),
            header: Some(b"header"),
            template: Some(b"template"),
        };
        assert_eq!(sources.chosen(), Some(&b"given"[..]));
        sources.given = Some(b"");
        assert_eq!(sources.chosen(), Some(&b"session"[..]));
        sources.session = None;
        assert_eq!(sources.chosen(), Some(&b"header"[..]));
        sources.header = None;
        assert_eq!(sources.chosen(), Some(&b"template"[..]));
        sources.template = None;
        assert_eq!(sources.chosen(), None);
    }

    #[test]
    fn a_message_without_call_id_has_no_id_of_its_own() {
        assert_eq!(correlation_id(None, &message(b"OPTIONS sip:a@b SIP/2.0\r\n\r\n")), None);
    }

    #[test]
    fn a_call_id_that_was_changed_on_the_way_out_counts_as_what_it_was() {
        let changed = Message { inner_call_id: Some(b"inner"), ..message(RAW) };
        assert_eq!(correlation_id(None, &changed), Some(&b"inner"[..]));
        assert_eq!(correlation_id(Some(b"session-1"), &changed), Some(&b"session-1"[..]));
    }

    #[test]
    fn an_overlong_id_is_cut() {
        assert_eq!(
            correlation_id(Some(&[b'x'; 5000]), &message(RAW)).map(<[u8]>::len),
            Some(MAX_CORRELATION_BYTES)
        );
    }
}
