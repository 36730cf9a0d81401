//! Messages → slices.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{
    Entry, FORMAT, Header, MAX_MESSAGES, MAX_PAYLOAD_BYTES, MAX_SPAN_US, Slice, SliceError, dictionary,
};
use crate::call::event::{self, EventPaths};
use crate::call::message::Message;
use crate::store::class::Teller;
use crate::store::{Dictionary, Key, Retention};

/// Cuts messages into slices: by call, correlation id and tenant, events apart from SIP, and each so that it keeps to
/// the bounds of a slice.
#[derive(Clone, Debug, Default)]
pub struct Cutter {
    /// What events are keyed by.
    pub paths: Arc<EventPaths>,
    /// What names the rule that a slice is kept under.
    pub retention: Arc<Retention>,
    /// What slices are compressed with.
    pub dictionary: Option<Arc<Dictionary>>,
}

/// What the messages of a slice have in common.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Group {
    tenant: Option<Arc<str>>,
    correlation_id: Option<Box<str>>,
    call_id: Option<Box<str>>,
    /// Whether the call of an event is told by its agent, or else by its payload.
    by_agent: bool,
    is_event: bool,
}

/// A message with the keys that its payload alone does not tell for little.
struct Keyed {
    message: Message,
    /// Keys of an event; none of SIP, whose keys are among its facts.
    keys: Vec<Key>,
}

impl Cutter {
    /// Cuts messages into slices.
    ///
    /// # Errors
    /// When a payload cannot be compressed, which only lack of memory brings about.
    pub fn cut(&self, messages: Vec<Message>) -> Result<Vec<Slice>, SliceError> {
        let mut groups: HashMap<Group, Vec<Keyed>> = HashMap::new();
        for message in messages {
            let is_event = event::is_event(&message);
            let (call_id, keys) = if is_event {
                read_event(&message, &self.paths)
            } else {
                (message.sip.call_id.clone(), Vec::new())
            };
            let group = Group {
                tenant: message.captured.tenant.clone(),
                correlation_id: message.captured.correlation_id.clone(),
                call_id: call_id.map(Into::into),
                by_agent: message.captured.call_id.is_some(),
                is_event,
            };
            groups.entry(group).or_default().push(Keyed { message, keys });
        }
        // Neighbours in the store are neighbours in what is asked for: a session's calls lie together.
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut slices = Vec::with_capacity(groups.len());
        for (_, mut group) in groups {
            group.sort_by_key(|m| m.message.captured.captured_at_us);
            let mut rest = group.as_slice();
            while let Some(first) = rest.first() {
                let (slice, others) = rest.split_at(fitting(first, rest));
                slices.push(self.encode(first, slice)?);
                rest = others;
            }
        }
        Ok(slices)
    }

    /// Encodes messages of one group, in order of capture.
    fn encode(&self, first: &Keyed, messages: &[Keyed]) -> Result<Slice, SliceError> {
        let first = &first.message;
        let first_us = first.captured.captured_at_us;
        let mut hosts = Table::default();
        let mut agents = Table::default();
        let mut keys = Vec::new();
        let mut payload_bytes = 0;
        let mut entries = Vec::with_capacity(messages.len());
        let mut cut = Vec::new();
        let mut class = Teller::default();
        for (index, Keyed { message, keys: of_event }) in (0..).zip(messages) {
            let Message { captured, sip, .. } = message;
            class.see(message);
            cut.extend(captured.full_length.map(|length| (index, length)));
            entries.push(Entry {
                after_us: captured.captured_at_us.saturating_sub(first_us).unsigned_abs(),
                src: hosts.index(captured.src),
                dst: hosts.index(captured.dst),
                transport: captured.transport as u8,
                protocol_type: captured.protocol_type,
                agent: agents.index((captured.agent_id, captured.agent_name.clone())),
                size: u32::try_from(captured.raw.len()).unwrap_or(u32::MAX),
            });
            payload_bytes += captured.raw.len();
            Key::push_facts(sip, &mut keys);
            keys.extend_from_slice(of_event);
        }
        let tenant = first.captured.tenant.clone();
        keys.extend(hosts.values.iter().map(|host: &SocketAddr| Key::host(host.ip())));
        let call = first.sip.call_id.as_deref().or(first.captured.call_id.as_deref()).map(Key::call);
        let correlation = first.captured.correlation_id.as_deref().map(Key::correlation);
        keys.extend(first.sip.call_id.as_deref().map(Key::call));
        keys.extend(correlation);
        keys.extend(tenant.as_deref().map(Key::tenant));
        keys.sort_unstable();
        keys.dedup();

        let class = class.class();
        let rule = self.retention.rule_of(class, tenant.as_deref());
        let header = Header {
            first_us,
            tenant,
            correlation_id: first.captured.correlation_id.clone(),
            call_id: first.captured.call_id.clone(),
            hosts: hosts.values,
            agents: agents.values,
            entries,
            cut,
        };
        let header = postcard::to_allocvec(&header).map_err(|e| SliceError::Header(e.to_string()))?;
        let mut content = Vec::with_capacity(4 + header.len() + payload_bytes);
        content.extend_from_slice(&u32::try_from(header.len()).unwrap_or(u32::MAX).to_le_bytes());
        content.extend_from_slice(&header);
        messages.iter().for_each(|m| content.extend_from_slice(&m.message.captured.raw));
        let blob =
            dictionary::deflate(&content, self.dictionary.as_deref(), |frame| [&[FORMAT], frame].concat())?;
        Ok(Slice {
            first_us,
            keys,
            home: call.or(correlation).unwrap_or(Key::EVERYTHING),
            count: u32::try_from(messages.len()).unwrap_or(u32::MAX),
            class,
            rule,
            dictionary: self.dictionary.clone(),
            blob,
        })
    }
}

/// How many of these, at least one, go into one slice.
fn fitting(first: &Keyed, messages: &[Keyed]) -> usize {
    let until = first.message.captured.captured_at_us.saturating_add(MAX_SPAN_US);
    let mut bytes = 0;
    let within = messages.iter().take(MAX_MESSAGES).take_while(|m| {
        let captured = &m.message.captured;
        bytes += captured.raw.len() + captured.agent_name.as_ref().map_or(0, |name| name.len());
        captured.captured_at_us <= until && bytes <= MAX_PAYLOAD_BYTES
    });
    within.count().max(1)
}

/// The call that an event names, and what the event is found by.
fn read_event(message: &Message, paths: &EventPaths) -> (Option<String>, Vec<Key>) {
    let mut keys = vec![Key::protocol(message.captured.protocol_type)];
    keys.extend(message.captured.correlation_id.as_deref().map(Key::event));
    if let Some(payload) = event::payload(message) {
        keys.extend(paths.indexed().filter_map(|path| Some(Key::json(path, &path.text(&payload)?))));
    }
    let call_id = paths.named_call(message);
    keys.extend(call_id.as_deref().map(Key::event));
    (call_id, keys)
}

/// Values in order of first use, each once.
struct Table<T> {
    values: Vec<T>,
    places: HashMap<T, u32>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { values: Vec::new(), places: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Table<T> {
    fn index(&mut self, value: T) -> u32 {
        if let Some(place) = self.places.get(&value) {
            return *place;
        }
        let place = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.values.push(value.clone());
        self.places.insert(value, place);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::message::Captured;
    use crate::call::sample::{Sample, call, reply, request};
    use crate::store::{Class, Rule};

    fn cut(samples: &[Sample]) -> Slice {
        Cutter::default().cut(call(samples).messages).expect("slices").pop().expect("a slice")
    }

    #[test]
    fn the_class_is_what_all_messages_are_about() {
        let in_dialog = |sample: Sample| sample.tags("a", Some("b"));
        for (samples, class) in [
            (vec![request(0, "INVITE"), reply(5, "INVITE", "100 Trying")], Class::Call),
            (vec![request(0, "REGISTER"), reply(5, "REGISTER", "401 Unauthorized")], Class::Registration),
            (vec![reply(5, "REGISTER", "200 OK")], Class::Registration),
            (vec![request(0, "OPTIONS"), in_dialog(reply(5, "OPTIONS", "200 OK"))], Class::Options),
            // Of a call whose side asks whether the other is there.
            (vec![in_dialog(request(0, "OPTIONS")), in_dialog(reply(5, "OPTIONS", "200 OK"))], Class::Call),
            // Which of both a reply alone belongs to cannot be told.
            (vec![in_dialog(reply(5, "OPTIONS", "200 OK"))], Class::Call),
            (vec![request(0, "OPTIONS"), request(5, "INVITE")], Class::Call),
            (vec![request(0, "OPTIONS"), request(5, "REGISTER")], Class::Call),
            (vec![request(0, "MESSAGE")], Class::Call),
        ] {
            assert_eq!(cut(&samples).class, class, "{samples:?}");
        }
        let mut event = call(&[request(0, "INVITE")]).messages;
        event[0] = Message::read(event[0].id, Captured { protocol_type: 100, ..event[0].captured.clone() });
        assert_eq!(Cutter::default().cut(event).expect("slices")[0].class, Class::Event);
    }

    #[test]
    fn tenants_are_kept_apart_and_their_slices_found_by_a_key() {
        let mut messages =
            call(&[request(0, "INVITE"), reply(5, "INVITE", "100 Trying"), request(9, "ACK")]).messages;
        messages[1].captured.tenant = Some("acme".into());
        let rule = Rule {
            name: "acme's".into(),
            classes: Vec::new(),
            tenants: vec!["acme".into()],
            bounds: Default::default(),
        };
        let retention = Arc::new(Retention { rules: [rule].into(), ..Retention::default() });
        let slices = Cutter { retention, ..Cutter::default() }.cut(messages).expect("slices");
        let told: Vec<_> =
            slices.iter().map(|s| (s.count, &*s.rule, s.keys.contains(&Key::tenant("acme")))).collect();
        assert_eq!(told, [(2, "default", false), (1, "acme's", true)]);
    }
}
