//! What a script says itself: log lines, texts of its own making, and what it may ask of a message.
#![expect(clippy::unwrap_used, reason = "tests and their helpers stop at what is unexpected")]

use std::sync::atomic::AtomicU64;

use capture::parts::{Reader, Taken, readers};
use capture::{
    Agent, Config, Delivered, Layout, Lookup, Message, Offer, Refusal, Scope, Settings, Shared, Timestamp,
    Transport,
};

const LOG: u8 = 100;
const SIP: u8 = 1;

struct Host {
    shared: Shared,
    config: Config,
    agent: Agent,
    queue: Reader,
}

/// Type, collector's slot, correlation id, Call-ID beside it, and payload of a packet.
type Seen = (u8, u8, Option<String>, Option<String>, String);

impl Host {
    fn new(settings: Settings) -> Self {
        let config = Config::check(settings).unwrap();
        let layout = Layout::new(1, 128).with_sessions(config.sessions);
        let words = (0..layout.words().unwrap()).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak();
        let shared = Shared::new(words, layout, config.enabled).unwrap();
        let agent = Agent::new(shared, 0, &config).unwrap();
        Self { shared, agent, config, queue: readers(shared).pop().unwrap() }
    }

    fn lookup(&self) -> Lookup {
        Lookup::new(self.shared, &self.config)
    }

    fn captured(&mut self) -> Vec<Seen> {
        let mut record = Vec::new();
        let mut found = Vec::new();
        loop {
            let slot = match self.queue.take(&mut record) {
                Taken::Record(slot) => slot,
                Taken::Empty => return found,
                other => unreachable!("{other:?}"),
            };
            let packet = hep::decode(&record).unwrap();
            let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
            let payload = text(packet.payload.plain().unwrap());
            let [id, call_id] = [packet.correlation_id, packet.call_id].map(|id| id.map(text));
            found.push((packet.protocol_type.unwrap(), slot, id, call_id, payload));
        }
    }
}

fn with_collector() -> Settings {
    Settings { duplicate_uri: "udp:127.0.0.1:9060".to_owned(), ..Settings::default() }
}

fn sip(call_id: &str, more: &str) -> Vec<u8> {
    format!("INVITE sip:b@h SIP/2.0\r\nFrom: <sip:a@h>;tag=a\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\n{more}\r\n")
        .into_bytes()
}

fn text<'a>(raw: &'a [u8], correlation: Option<&'a [u8]>) -> Offer<'a> {
    let end = Some("127.0.0.1:5060".parse().unwrap());
    let captured_at = Timestamp { seconds: 1_700_000_000, microseconds: 42 };
    let message = Message {
        raw,
        source: end,
        destination: end,
        transport: Transport::Udp,
        captured_at,
        inner_call_id: None,
    };
    Offer { message, collector: None, correlation, template: None }
}

fn about(raw: &[u8]) -> Message<'_> {
    Message { raw, ..Message::NONE }
}

fn follow(host: &mut Host, raw: &[u8], collector: &[u8], id: &[u8], scope: Scope) {
    let offer = Offer { collector: Some(collector), ..text(raw, Some(id)) };
    host.agent.follow(&offer, scope, &mut Delivered::default()).unwrap();
}

#[test]
fn a_line_has_the_id_of_its_argument_else_of_the_session_else_the_call_id() {
    let mut host = Host::new(with_collector());
    let (followed, other) = (sip("followed", ""), sip("other", ""));
    follow(&mut host, &followed, b"udp:127.0.0.1:9061", b"session", Scope::Dialog);
    host.captured();

    host.agent.log(&text(b"one", Some(b"mine")), &about(&followed)).unwrap();
    host.agent.log(&text(b"two", None), &about(&followed)).unwrap();
    host.agent.log(&text(b"three", None), &about(&other)).unwrap();
    host.agent.log(&text(b"four", None), &about(b"")).unwrap();
    host.agent.log(&text(b"five", Some(b"mine")), &about(&sip(&"c".repeat(1025), ""))).unwrap();
    let line = |slot, id: Option<&str>, call_id: Option<&str>, text: &str| {
        (LOG, slot, id.map(str::to_owned), call_id.map(str::to_owned), text.to_owned())
    };
    // It goes where its call goes, and names the call if its id does not.
    let expected = [
        line(0, Some("mine"), Some("followed"), "one"),
        line(0, Some("session"), Some("followed"), "two"),
        line(1, Some("other"), None, "three"),
        line(1, None, None, "four"),
        line(1, Some("mine"), None, "five"),
    ];
    assert_eq!(host.captured(), expected);
}

#[test]
fn a_line_is_not_filtered_by_what_is_meant_for_messages_but_by_the_switch() {
    let settings = Settings {
        trace_method: "BYE".to_owned(),
        trace_network: "192.0.2.0/24".to_owned(),
        ..with_collector()
    };
    let mut host = Host::new(settings);
    host.agent.log(&text(b"line", None), &about(&sip("call", ""))).unwrap();
    assert_eq!(host.captured().len(), 1);
    host.shared.set_enabled(false);
    host.agent.log(&text(b"line", None), &about(&sip("call", ""))).unwrap();
    host.shared.set_enabled(true);
    host.agent.log(&text(b"", None), &about(&sip("call", ""))).unwrap();
    assert_eq!(host.captured(), []);
    let stats = host.shared.stats();
    assert_eq!((stats.offered, stats.filtered), (3, 2));
}

#[test]
fn a_line_for_nobody_is_refused_and_counted() {
    let mut host = Host::new(Settings::default());
    assert_eq!(host.agent.log(&text(b"line", None), &about(&sip("call", ""))), Err(Refusal::NoCollector));
    assert_eq!(host.shared.stats().dropped.refused, 1);
}

#[test]
fn a_line_longer_than_a_packet_is_cut_and_counted() {
    let mut host = Host::new(with_collector());
    host.agent.log(&text(&[b'x'; 70_000], None), &about(&sip("call", ""))).unwrap();
    let (.., payload) = host.captured().pop().unwrap();
    assert!((60_000..65_507).contains(&payload.len()), "{}", payload.len());
    assert_eq!(host.shared.stats().truncated, 1);
}

#[test]
fn a_text_is_a_message_if_it_is_sip_and_a_line_if_not() {
    let mut host = Host::new(with_collector());
    let (other, own) = (sip("about", ""), sip("own", ""));
    host.agent.offer_text(&text(&own, None), &about(&other)).unwrap();
    host.agent.offer_text(&text(&own, Some(b"given")), &about(&other)).unwrap();
    host.agent.offer_text(&text(b"{\"answer\": 42}", None), &about(&other)).unwrap();
    let found = host.captured();
    let heads: Vec<_> = found.iter().map(|(kind, _, id, ..)| (*kind, id.as_deref().unwrap())).collect();
    assert_eq!(heads, [(SIP, "own"), (SIP, "given"), (LOG, "about")]);
}

#[test]
fn a_lookup_tells_what_a_message_would_be_captured_under_and_what_is_followed() {
    let settings = Settings { correlation_header: "X-Id".to_owned(), ..with_collector() };
    let mut host = Host::new(settings);
    let lookup = host.lookup();
    let id = |raw: &[u8], template: Option<&[u8]>| {
        let mut id = b"what was there before".to_vec();
        lookup.correlation_id(&about(raw), template, &mut id);
        String::from_utf8(id).unwrap()
    };
    let call = sip("call", "");
    assert_eq!(id(&call, None), "call");
    assert_eq!(id(&call, Some(b"template")), "template");
    assert_eq!(id(&sip("call", "X-Id: header\r\n"), Some(b"template")), "header");
    assert_eq!(id(b"no SIP", None), "");
    assert_eq!(lookup.scope(&about(&call)), Scope::Message);

    follow(&mut host, &call, b"udp:127.0.0.1:9061", b"session", Scope::Dialog);
    assert_eq!(
        (id(&call, Some(b"template")).as_str(), lookup.scope(&about(&call))),
        ("session", Scope::Dialog)
    );
    follow(&mut host, &call, b"udp:127.0.0.1:9061", b"narrower", Scope::Transaction);
    assert_eq!((id(&call, None).as_str(), lookup.scope(&about(&call))), ("narrower", Scope::Transaction));
    assert_eq!(lookup.scope(&about(&sip("another", ""))), Scope::Message);
    assert_eq!(lookup.scope(&about(b"no SIP")), Scope::Message);
}
