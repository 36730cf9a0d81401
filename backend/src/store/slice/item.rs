//! What of a message decides into which slice it goes, and what that slice is found by.

use std::borrow::Cow;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::call::event::{self, EventPaths};
use crate::call::message::{CapturedRef, Kind, MessageId, MessageRef, PROTOCOL_SIP};
use crate::store::Key;
use crate::text;

/// The facts that slices are made by. Those of [`SipFacts`](crate::call::message::SipFacts), read by the same rules.
#[derive(Debug)]
pub struct Facts<'a> {
    pub kind: Kind,
    pub method: Option<Cow<'a, str>>,
    pub status: Option<u16>,
    /// Call-ID of SIP; of an event, the call that it names.
    pub call_id: Option<Cow<'a, str>>,
    pub from_user: Option<Cow<'a, str>>,
    pub to_user: Option<Cow<'a, str>>,
    pub request_user: Option<Cow<'a, str>>,
    pub has_to_tag: bool,
}

/// A captured message, ready to be put into a slice.
#[derive(Debug)]
pub struct Item<'a> {
    pub(super) captured: CapturedRef<'a>,
    pub(super) facts: Facts<'a>,
    /// Keys of an event; none of SIP, whose keys are among its facts.
    pub(super) keys: Vec<Key>,
    /// Of its correlation id. Neighbours in the store are neighbours in what is asked for: a session's calls lie together.
    pub(super) session: u64,
    /// Of all that the messages of a slice have in common.
    pub(super) group: u64,
}

impl<'a> Item<'a> {
    /// Reads what is needed of a message. What events are keyed by is said by `paths`.
    #[must_use]
    pub fn read(captured: CapturedRef<'a>, paths: &EventPaths) -> Self {
        let mut keys = Vec::new();
        let facts = if captured.protocol_type != PROTOCOL_SIP {
            let (call_id, of_event) = read_event(&captured, paths);
            keys = of_event;
            Facts { call_id: call_id.map(Cow::Owned), ..Facts::of(Kind::Other) }
        } else {
            match &captured.raw {
                Cow::Borrowed(raw) => Facts::read(raw),
                Cow::Owned(raw) => Facts::read(raw).into_owned(),
            }
        };
        let hash = |text: &Option<Cow<'_, str>>, seed: u64| match text {
            // A text's length decides about nothing, so none and an empty one have to differ otherwise.
            Some(text) => xxh3_64_with_seed(text.as_bytes(), seed.wrapping_add(1)),
            None => seed.wrapping_mul(31),
        };
        let session = hash(&captured.correlation_id, 0);
        let tenant = captured.tenant.as_ref().map_or(0, |tenant| xxh3_64(tenant.as_bytes()));
        let flags = u64::from(captured.call_id.is_some()) << 1 | u64::from(facts.kind == Kind::Other);
        let group = hash(&facts.call_id, session ^ tenant.rotate_left(32) ^ flags);
        Self { captured, facts, keys, session, group }
    }

    /// Whether two items go into one slice, as far as they themselves say. Hashes alone could be the same by chance.
    pub(super) fn is_with(&self, other: &Self) -> bool {
        let (a, b) = (&self.captured, &other.captured);
        self.group == other.group
            && self.facts.call_id == other.facts.call_id
            && a.correlation_id == b.correlation_id
            && a.tenant == b.tenant
            && a.call_id.is_some() == b.call_id.is_some()
            && (self.facts.kind == Kind::Other) == (other.facts.kind == Kind::Other)
    }
}

impl<'a> Facts<'a> {
    const fn of(kind: Kind) -> Self {
        Self {
            kind,
            method: None,
            status: None,
            call_id: None,
            from_user: None,
            to_user: None,
            request_user: None,
            has_to_tag: false,
        }
    }

    fn read(raw: &'a [u8]) -> Self {
        let Ok(message) = sip::parse_identity(raw) else {
            // A Call-ID line may still be readable, and ties the fragment to its call.
            let call_id = sip::call_id(raw).map(text::lossy);
            return Self { call_id, ..Self::of(Kind::Malformed) };
        };
        let (to_user, to_tag) = message.to_user_and_tag();
        let mut facts = Self {
            call_id: message.call_id().map(text::lossy),
            from_user: message.from_user().map(text::lossy),
            to_user: to_user.map(text::lossy),
            has_to_tag: to_tag.is_some(),
            ..Self::of(Kind::Request)
        };
        match message.start() {
            sip::StartLine::Request { method, uri } => {
                facts.method = Some(text::lossy(method));
                facts.request_user = sip::uri_user(uri).map(text::lossy);
            }
            sip::StartLine::Reply { status, .. } => {
                facts.kind = Kind::Reply;
                facts.method = message.cseq().map(|cseq| text::lossy(cseq.method));
                facts.status = Some(status);
            }
        }
        facts
    }

    fn into_owned<'b>(self) -> Facts<'b> {
        let own = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        Facts {
            kind: self.kind,
            method: own(self.method),
            status: self.status,
            call_id: own(self.call_id),
            from_user: own(self.from_user),
            to_user: own(self.to_user),
            request_user: own(self.request_user),
            has_to_tag: self.has_to_tag,
        }
    }
}

/// The call that an event names, and what the event is found by.
fn read_event(captured: &CapturedRef<'_>, paths: &EventPaths) -> (Option<String>, Vec<Key>) {
    let message = MessageRef::read(MessageId::default(), captured);
    let mut keys = vec![Key::protocol(captured.protocol_type)];
    keys.extend(captured.correlation_id.as_deref().map(Key::event));
    if let Some(payload) = event::payload(&message) {
        keys.push(Key::path_set(&paths.set()));
        keys.extend(paths.indexed().filter_map(|path| Some(Key::json(path, &path.text(&payload)?))));
    }
    let call_id = paths.named_call(&message);
    keys.extend(call_id.as_deref().map(Key::event));
    (call_id, keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::message::{Captured, Message};
    use crate::call::sample::{answered, call};

    fn sample(raw: &[u8]) -> Captured {
        let captured = call(&answered()).messages.remove(0).captured;
        Captured { raw: raw.to_vec().into(), ..captured }
    }

    #[test]
    fn the_facts_are_those_that_a_message_is_shown_with() {
        let mut raws: Vec<_> =
            call(&answered()).messages.into_iter().map(|m| m.captured.raw.to_vec()).collect();
        raws.extend([
            b"INVITE sip:r%20@h SIP/2.0\r\nFrom: <sip:\xff@h>\r\nTo: x <tel:+1>;tag=t\r\ni: c\r\nCSeq: 1 INVITE\r\n\r\nTo: y".to_vec(),
            b"INVITE sip:\xff@h SIP/2.0\r\nTo: <sip:a@h>\r\nTo: <sip:b@h>;tag=1\r\nCall-ID: c\r\n\r\n".to_vec(),
            b"SIP/2.0 200 OK\r\nCSeq: 1 OPTIONS\r\n\r\n".to_vec(),
            b"nonsense\r\nCall-ID: c\r\n\r\n".to_vec(),
            b"".to_vec(),
        ]);
        for raw in raws {
            let captured = sample(&raw);
            let message = Message::read(MessageId::default(), captured.clone());
            let lent = Item::read(captured.lent(), &EventPaths::default());
            let owned = CapturedRef { raw: Cow::Owned(raw), ..captured.lent() };
            for Item { facts, .. } in [lent, Item::read(owned, &EventPaths::default())] {
                let sip = &message.sip;
                assert_eq!(facts.kind, message.kind);
                assert_eq!(facts.status, sip.status);
                assert_eq!(facts.has_to_tag, sip.to_tag.is_some());
                for (read, shown) in [
                    (&facts.method, sip.method.as_deref()),
                    (&facts.call_id, sip.call_id.as_deref()),
                    (&facts.from_user, sip.from_user.as_deref()),
                    (&facts.to_user, sip.to_user.as_deref()),
                ] {
                    assert_eq!(read.as_deref(), shown, "{message:?}");
                }
                assert_eq!(facts.request_user.as_deref(), sip.request_user(), "{message:?}");
            }
        }
    }

    #[test]
    fn what_differs_in_one_thing_goes_into_another_slice() {
        let plain = sample(b"INVITE sip:a@h SIP/2.0\r\nCall-ID: c\r\n\r\n");
        let others = [
            Captured { correlation_id: None, ..plain.clone() },
            Captured { correlation_id: Some("other".into()), ..plain.clone() },
            Captured { correlation_id: Some("".into()), ..plain.clone() },
            Captured { tenant: Some("acme".into()), ..plain.clone() },
            Captured { raw: "INVITE sip:a@h SIP/2.0\r\nCall-ID: d\r\n\r\n".into(), ..plain.clone() },
            Captured { raw: "INVITE sip:a@h SIP/2.0\r\n\r\n".into(), ..plain.clone() },
            Captured { protocol_type: 100, ..plain.clone() },
            Captured { protocol_type: 100, call_id: Some("c".into()), ..plain.clone() },
        ];
        let read = |captured: &'_ Captured| -> (u64, bool) {
            let (item, first) = (captured.lent(), plain.lent());
            let (item, first) =
                (Item::read(item, &EventPaths::default()), Item::read(first, &EventPaths::default()));
            (item.group, item.is_with(&first))
        };
        let mut groups: Vec<_> = others.iter().map(read).collect();
        assert!(groups.iter().all(|(_, with)| !with));
        let same = Captured { captured_at_us: 1, agent_id: 9, ..plain.clone() };
        groups.push(read(&same));
        assert_eq!(read(&same), (read(&plain).0, true));
        groups.sort_unstable();
        groups.dedup_by_key(|(group, _)| *group);
        assert_eq!(groups.len(), others.len() + 1);
    }
}
