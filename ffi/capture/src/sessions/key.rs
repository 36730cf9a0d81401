//! What makes two messages belong together.

use std::hash::{BuildHasher, Hash, RandomState};

use sip::StartLine;

use crate::message::Message;

/// What following a session needs to know of a message.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub message: sip::Message<'a>,
    /// As [`Message::inner_call_id`].
    inner_call_id: Option<&'a [u8]>,
    /// `None` for a reply.
    pub request: Option<&'a [u8]>,
    /// `None` for a request.
    pub status: Option<u16>,
    /// The CSeq's number and method.
    pub cseq: Option<(u32, &'a [u8])>,
}

impl<'a> Facts<'a> {
    /// `None` for what is not SIP.
    #[inline]
    pub fn of(seen: &Message<'a>) -> Option<Self> {
        let message = sip::parse(seen.raw).ok()?;
        let (request, status) = match message.start() {
            StartLine::Request { method, .. } => (Some(method), None),
            StartLine::Reply { status, .. } => (None, Some(status)),
        };
        let cseq = message.cseq().map(|cseq| (cseq.number, cseq.method));
        Some(Self { message, inner_call_id: seen.inner_call_id, request, status, cseq })
    }

    /// The Call-ID by which the proxy knows the call.
    pub fn call_id(&self) -> Option<&'a [u8]> {
        self.inner_call_id.or_else(|| self.message.call_id())
    }

    /// The method of the request, or of the request that this is a reply to.
    pub fn method(&self) -> Option<&'a [u8]> {
        self.request.or(self.cseq.map(|(_, method)| method))
    }
}

/// Where a message's session would be in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    pub transaction: Option<u64>,
    pub dialog: u64,
}

impl Keys {
    /// `None` for a message without Call-ID.
    ///
    /// A dialog is the Call-ID by which the proxy knows it: both sides of one that topology hiding has given two are the
    /// same; forks and dialogs that are not established yet are part of the call. A transaction is
    /// Call-ID, CSeq and the tag of its sender; the branch differs from hop to hop. An INVITE's ACK and CANCEL belong
    /// to it, and carry its number.
    pub fn of(facts: &Facts<'_>, seed: &RandomState) -> Option<Self> {
        let call_id = facts.call_id()?;
        let transaction = facts.cseq.map(|(number, method)| {
            let method = if matches!(method, b"ACK" | b"CANCEL") { b"INVITE" } else { method };
            let tag = facts.message.from().and_then(|from| from.tag);
            hash(seed, (call_id, number, method, tag))
        });
        Some(Self { transaction, dialog: hash(seed, call_id) })
    }
}

/// Keyed anew with each start of the proxy: nobody can choose Call-IDs that fill one bucket. 0 stands for no key.
fn hash(seed: &RandomState, value: impl Hash) -> u64 {
    seed.hash_one(value).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(raw: &[u8]) -> Message<'_> {
        Message { raw, ..Message::NONE }
    }

    fn keys(seed: &RandomState, start: &str, cseq: &str, tag: &str) -> Keys {
        let raw = format!(
            "{start}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{}\r\nFrom: <sip:a@h>;tag={tag}\r\nCall-ID: c\r\nCSeq: {cseq}\r\n\r\n",
            start.len()
        );
        Keys::of(&Facts::of(&message(raw.as_bytes())).unwrap(), seed).unwrap()
    }

    #[test]
    fn a_transaction_is_the_same_on_every_hop_with_its_replies_ack_and_cancel() {
        let seed = RandomState::new();
        let invite = keys(&seed, "INVITE sip:b@h SIP/2.0", "1 INVITE", "a");
        for (start, cseq) in [
            ("SIP/2.0 486 Busy Here", "1 INVITE"),
            ("ACK sip:b@h SIP/2.0", "1 ACK"),
            ("CANCEL sip:b@h SIP/2.0", "1 CANCEL"),
            ("SIP/2.0 200 OK", "1 CANCEL"),
            ("INVITE sip:b@other.example SIP/2.0", "1 INVITE"),
        ] {
            assert_eq!(keys(&seed, start, cseq, "a"), invite, "{start}");
        }
    }

    #[test]
    fn other_transactions_of_the_dialog_have_other_keys() {
        let seed = RandomState::new();
        let invite = keys(&seed, "INVITE sip:b@h SIP/2.0", "1 INVITE", "a");
        for (start, cseq, tag) in [
            ("INVITE sip:b@h SIP/2.0", "2 INVITE", "a"),
            ("BYE sip:b@h SIP/2.0", "1 BYE", "a"),
            ("INVITE sip:a@h SIP/2.0", "1 INVITE", "b"),
        ] {
            let other = keys(&seed, start, cseq, tag);
            assert_ne!(other.transaction, invite.transaction, "{start} {cseq} {tag}");
            assert_eq!(other.dialog, invite.dialog);
        }
    }

    #[test]
    fn both_call_ids_of_a_call_are_one_dialog_and_one_transaction() {
        let seed = RandomState::new();
        let raw = b"BYE sip:a@h SIP/2.0\r\nFrom: <sip:b@h>;tag=b\r\nCall-ID: hidden\r\nCSeq: 2 BYE\r\n\r\n";
        let seen = Message { inner_call_id: Some(b"c"), ..message(raw) };
        let inner = keys(&seed, "BYE sip:a@h SIP/2.0", "2 BYE", "b");
        assert_eq!(Keys::of(&Facts::of(&seen).unwrap(), &seed), Some(inner));
        assert_ne!(Keys::of(&Facts::of(&message(raw)).unwrap(), &seed), Some(inner));
    }

    #[test]
    fn without_call_id_there_is_no_key() {
        let facts = Facts::of(&message(b"OPTIONS sip:a@b SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n")).unwrap();
        assert_eq!(Keys::of(&facts, &RandomState::new()), None);
    }
}
