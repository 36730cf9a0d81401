//! Sessions from the host's side: one call opens them, and every process then captures the rest.
#![expect(clippy::unwrap_used, reason = "tests and their helpers stop at what is unexpected")]

use std::sync::atomic::AtomicU64;

use capture::parts::{Reader, Taken, readers};
use capture::{
    Agent, Config, Delivered, Followed, Layout, MAX_SESSION_ID_BYTES, Message, Offer, Scope, Settings,
    Shared, Timestamp, Transport,
};
use proptest::prelude::*;

const COLLECTOR: &[u8] = b"udp:127.0.0.1:9060";

struct Host {
    shared: Shared,
    config: Config,
    queues: Vec<Reader>,
}

impl Host {
    fn new(settings: Settings) -> Self {
        let config = Config::check(settings).unwrap();
        let layout = Layout::new(3, 128).with_sessions(config.sessions);
        let words = (0..layout.words().unwrap()).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak();
        let shared = Shared::new(words, layout, config.enabled).unwrap();
        Self { shared, config, queues: readers(shared) }
    }

    fn agent(&self, process: usize) -> Agent {
        Agent::new(self.shared, process, &self.config).unwrap()
    }

    /// Start line and correlation id of everything captured, in the order of processes.
    fn captured(&mut self) -> Vec<(String, Option<String>)> {
        let mut record = Vec::new();
        let mut found = Vec::new();
        for queue in &mut self.queues {
            while queue.take(&mut record) != Taken::Empty {
                let packet = hep::decode(&record).unwrap();
                let hep::Payload::Plain(payload) = packet.payload else { unreachable!("payload is plain") };
                let line = String::from_utf8_lossy(payload).lines().next().unwrap().to_owned();
                let id = packet.correlation_id.map(|id| String::from_utf8_lossy(id).into_owned());
                found.push((line, id));
            }
        }
        found
    }
}

fn everything() -> Settings {
    Settings { trace_mode: 1, duplicate_uri: "udp:127.0.0.1:9060".to_owned(), ..Settings::default() }
}

fn message(raw: &[u8]) -> Message<'_> {
    Message {
        raw,
        source: Some("127.0.0.1:5070".parse().unwrap()),
        destination: Some("127.0.0.1:5060".parse().unwrap()),
        transport: Transport::Udp,
        captured_at: Timestamp { seconds: 1_700_000_000, microseconds: 42 },
        inner_call_id: None,
    }
}

fn sip(start: &str, call_id: &str, cseq: &str, more: &str) -> Vec<u8> {
    format!("{start}\r\nFrom: <sip:a@h>;tag=a\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n{more}\r\n")
        .into_bytes()
}

fn invite(call_id: &str) -> Vec<u8> {
    sip("INVITE sip:b@h SIP/2.0", call_id, "1 INVITE", "")
}

fn follow(agent: &mut Agent, raw: &[u8], id: Option<&[u8]>, scope: Scope) -> Followed {
    let offer = Offer { message: message(raw), collector: Some(COLLECTOR), correlation: id, template: None };
    agent.follow(&offer, scope, &mut Delivered::default()).unwrap()
}

fn observe(agent: &mut Agent, raw: &[u8]) {
    agent.observe(&message(raw), &mut Delivered::default()).unwrap();
}

#[test]
fn an_id_given_once_is_on_every_message_of_the_dialog_in_every_process() {
    let mut host = Host::new(Settings::default());
    let (mut first, mut second, mut third) = (host.agent(0), host.agent(1), host.agent(2));
    observe(&mut first, &invite("call"));
    assert_eq!(follow(&mut first, &invite("call"), Some(b"session"), Scope::Dialog), Followed::Yes);
    for (start, cseq) in [("SIP/2.0 200 OK", "1 INVITE"), ("ACK sip:b@h SIP/2.0", "1 ACK")] {
        observe(&mut second, &sip(start, "call", cseq, ""));
    }
    observe(&mut third, &sip("BYE sip:a@h SIP/2.0", "call", "7 BYE", ""));
    observe(&mut third, &invite("another call"));
    let captured = host.captured();
    assert_eq!(captured.len(), 4, "{captured:?}");
    assert!(captured.iter().all(|(_, id)| id.as_deref() == Some("session")), "{captured:?}");
    assert_eq!(host.shared.stats().offered, 4, "what belongs to no session is not counted");
}

#[test]
fn a_transaction_ends_where_the_next_one_begins() {
    let mut host = Host::new(Settings::default());
    let mut agent = host.agent(0);
    follow(&mut agent, &invite("call"), Some(b"session"), Scope::Transaction);
    for (start, cseq) in [
        ("SIP/2.0 486 Busy Here", "1 INVITE"),
        ("ACK sip:b@h SIP/2.0", "1 ACK"),
        ("CANCEL sip:b@h SIP/2.0", "1 CANCEL"),
        ("INVITE sip:b@h SIP/2.0", "1 INVITE"),
        ("INVITE sip:b@h SIP/2.0", "2 INVITE"),
        ("BYE sip:b@h SIP/2.0", "3 BYE"),
    ] {
        observe(&mut agent, &sip(start, "call", cseq, ""));
    }
    assert_eq!(host.captured().len(), 5);
}

#[test]
fn a_later_call_of_the_script_without_id_keeps_the_id_of_the_dialog() {
    let mut host = Host::new(Settings::default());
    let mut agent = host.agent(0);
    follow(&mut agent, &invite("call"), Some(b"session"), Scope::Dialog);
    follow(&mut agent, &sip("INFO sip:b@h SIP/2.0", "call", "2 INFO", ""), None, Scope::Dialog);
    follow(&mut agent, &sip("BYE sip:b@h SIP/2.0", "call", "3 BYE", ""), None, Scope::Message);
    assert!(host.captured().iter().all(|(_, id)| id.as_deref() == Some("session")));
}

#[test]
fn a_collector_is_given_a_message_once_and_another_one_gets_it_too() {
    let mut host = Host::new(everything());
    let mut agent = host.agent(0);
    let raw = invite("call");
    let mut delivered = Delivered::default();
    agent.observe(&message(&raw), &mut delivered).unwrap();
    for collector in [COLLECTOR, b"udp:127.0.0.1:9061", b"udp:127.0.0.1:9061"] {
        let offer =
            Offer { message: message(&raw), collector: Some(collector), correlation: None, template: None };
        agent.follow(&offer, Scope::Message, &mut delivered).unwrap();
    }
    assert_eq!(host.captured().len(), 2);
    let stats = host.shared.stats();
    assert_eq!((stats.offered, stats.filtered), (4, 2));
}

#[test]
fn capturing_everything_takes_sip_only_and_gives_it_its_call_id() {
    let mut host = Host::new(everything());
    let mut agent = host.agent(0);
    observe(&mut agent, &invite("call"));
    observe(&mut agent, b"\r\n\r\n");
    observe(&mut agent, b"\0\0 stun");
    observe(&mut agent, b"OPTIONS sip:b@h SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n");
    let captured = host.captured();
    assert_eq!(captured.len(), 2, "{captured:?}");
    assert_eq!(captured[0].1.as_deref(), Some("call"));
    assert_eq!(captured[1].1, None);
    assert_eq!(host.shared.stats().not_followed, 1, "the one without Call-ID is counted");
}

#[test]
fn where_a_message_goes_is_asked_only_for_what_is_captured_and_counted_when_unknown() {
    let mut host = Host::new(Settings::default());
    let mut agent = host.agent(0);
    let mut observe = |raw: &[u8], known: bool| {
        let mut asked = false;
        let locate = |message: &mut Message<'_>| {
            asked = true;
            message.source = Some("127.0.0.1:49152".parse().unwrap());
            known
        };
        agent.observe_with(&message(raw), &mut Delivered::default(), locate).unwrap();
        asked
    };
    assert!(!observe(&invite("call"), true), "nothing is followed yet");
    follow(&mut host.agent(1), &invite("call"), None, Scope::Dialog);
    assert!(!observe(&invite("other call"), true));
    assert!(observe(&invite("call"), true));
    assert_eq!(host.shared.stats().port_unknown, 0);
    assert!(observe(&invite("call"), false));
    assert_eq!(host.shared.stats().port_unknown, 1);

    let mut record = Vec::new();
    let mut ports = Vec::new();
    for queue in &mut host.queues {
        while queue.take(&mut record) != Taken::Empty {
            ports.push(hep::decode(&record).unwrap().src_port);
        }
    }
    assert_eq!(ports, [Some(49152), Some(49152), Some(5070)]);
}

#[test]
fn the_header_of_a_request_names_the_whole_dialog() {
    let mut host = Host::new(Settings { correlation_header: "X-Session-Id".to_owned(), ..everything() });
    let (mut first, mut second) = (host.agent(0), host.agent(1));
    observe(&mut first, &sip("INVITE sip:b@h SIP/2.0", "call", "1 INVITE", "x-session-id: named\r\n"));
    observe(&mut second, &sip("SIP/2.0 200 OK", "call", "1 INVITE", ""));
    observe(&mut second, &invite("other"));
    let ids: Vec<_> = host.captured().into_iter().filter_map(|(_, id)| id).collect();
    assert_eq!(ids, ["named", "named", "other"]);
}

#[test]
fn only_the_listed_methods_are_captured_with_their_replies() {
    let mut host = Host::new(Settings { trace_method: "invite, bye".to_owned(), ..everything() });
    let mut agent = host.agent(0);
    for (start, cseq) in [
        ("INVITE sip:b@h SIP/2.0", "1 INVITE"),
        ("SIP/2.0 200 OK", "1 INVITE"),
        ("ACK sip:b@h SIP/2.0", "1 ACK"),
        ("OPTIONS sip:b@h SIP/2.0", "2 OPTIONS"),
        ("BYE sip:b@h SIP/2.0", "3 BYE"),
    ] {
        observe(&mut agent, &sip(start, "call", cseq, ""));
    }
    assert_eq!(host.captured().len(), 3);
    assert_eq!(host.shared.stats().filtered, 2);
}

#[test]
fn what_cannot_be_followed_is_captured_alone_and_counted() {
    let mut host = Host::new(Settings { sessions: 16, ..Settings::default() });
    let mut agent = host.agent(0);
    let long = vec![b'x'; MAX_SESSION_ID_BYTES + 1];
    assert_eq!(follow(&mut agent, &invite("long"), Some(&long), Scope::Dialog), Followed::IdTooLong);
    let nameless = b"INVITE sip:b@h SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\n";
    assert_eq!(follow(&mut agent, nameless, Some(b"s"), Scope::Dialog), Followed::NoCallId);
    for number in 0..16 {
        let followed = follow(&mut agent, &invite(&number.to_string()), Some(b"s"), Scope::Dialog);
        assert_eq!(followed, Followed::Yes);
    }
    assert_eq!(follow(&mut agent, &invite("17th"), Some(b"s"), Scope::Dialog), Followed::TableFull);
    assert_eq!(host.captured().len(), 19);
    let stats = host.shared.stats();
    assert_eq!((stats.not_followed, stats.table_full, stats.dropped.total()), (2, 1, 0));
}

#[test]
fn nothing_is_opened_or_captured_while_capture_is_off() {
    let mut host = Host::new(Settings { trace_on: 0, ..everything() });
    let mut agent = host.agent(0);
    follow(&mut agent, &invite("call"), Some(b"session"), Scope::Dialog);
    observe(&mut agent, &invite("call"));
    assert!(host.captured().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_message_makes_anything_panic_and_the_counters_add_up(
        messages in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..300),
                ("(INVITE|BYE|SIP/2.0|CSeq|.{0,9})[ :]{0,2}.{0,20}( SIP/2.0)?\r\n((Call-ID|i|CSeq|From|f|X)[ :]{0,3}.{0,20}\r\n){0,6}\r\n")
                    .prop_map(String::into_bytes),
            ],
            1..20,
        ),
        scopes in prop::collection::vec(0..4u8, 20),
    ) {
        let host = Host::new(Settings { correlation_header: "X".to_owned(), sessions: 16, ..everything() });
        let mut agent = host.agent(0);
        for (raw, scope) in messages.iter().zip(&scopes) {
            let scope = match scope {
                0 => Scope::Message,
                1 => Scope::Transaction,
                2 => Scope::Dialog,
                _ => { observe(&mut agent, raw); continue }
            };
            let _ = follow(&mut agent, raw, Some(b"id"), scope);
        }
        let stats = host.shared.stats();
        prop_assert_eq!(stats.offered, stats.filtered + stats.dropped.total() + stats.sent + stats.in_queue);
    }
}
