//! What several targets need: packets out of octets, and what must hold of each slice.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::LazyLock;

use bytes::Bytes;
use hep::framing::{Frame, frame};
use siplens_backend::call::event::{self, EventPaths, JsonPath};
use siplens_backend::call::message::{Captured, Message};
use siplens_backend::decode::decode;
use siplens_backend::search::filter::{AddressFilter, Filter, JsonFilter, StatusFilter, UserFilter};
use siplens_backend::spool::Record;
use siplens_backend::store::{Dictionary, Key, Slice};
use siplens_backend::tenant::Tenants;

/// The longest payload that a compressed one may inflate to, octets.
pub const INFLATED_BYTES: usize = 1 << 18;

/// Paths that samples of JSON payloads hold.
pub fn paths() -> EventPaths {
    let path = |text| JsonPath::parse(text).expect("a path");
    EventPaths { call_id: vec![path("call_id")], index: vec![path("ssrc"), path("a.0.b")] }
}

/// The whole packets at the start of a stream, and what is left of it.
pub fn packets(mut octets: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut packets = Vec::new();
    while let Ok(Frame::Complete(len)) = frame(octets) {
        let (packet, rest) = octets.split_at(len);
        packets.push(packet);
        octets = rest;
    }
    (packets, octets)
}

/// What is captured in a stream of packets.
pub fn captured(octets: &[u8]) -> Vec<Captured> {
    let peer = SocketAddr::from(([192, 0, 2, 1], 9060));
    let (packets, _) = packets(octets);
    let read = packets.into_iter().filter_map(|packet| {
        let record = Record {
            received_at_us: 1_795_255_200_000_000,
            peer,
            transport: hep::Transport::Udp,
            hep: Bytes::copy_from_slice(packet),
        };
        decode(&record, INFLATED_BYTES, &Tenants::default()).ok().map(|captured| captured.to_captured())
    });
    read.collect()
}

/// A dictionary, the same in every run.
pub fn dictionary() -> &'static Dictionary {
    static DICTIONARY: LazyLock<Dictionary> = LazyLock::new(|| {
        let sample = |n: u32| {
            format!(
                "INVITE sip:{n}@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.{n};branch=z9hG4bK{n}\r\n\
                 From: <sip:{n}@example.com>;tag={n}\r\nTo: <sip:b@example.com>\r\nCall-ID: {n}\r\nCSeq: {n} INVITE\r\n\r\n"
            )
        };
        let samples: Vec<String> = (0..200).map(sample).collect();
        let lengths: Vec<usize> = samples.iter().map(String::len).collect();
        Dictionary::train(samples.concat().as_bytes(), &lengths, 4096, 0).expect("samples enough")
    });
    &DICTIONARY
}

/// Whatever a search looks for by key, it finds the slices with messages that meet it.
pub fn assert_found(slice: &Slice, messages: &[Message], paths: &EventPaths) {
    let keys: HashSet<Key> = slice.keys.iter().copied().collect();
    assert_eq!(keys.len(), slice.keys.len(), "each key once");
    assert!(slice.keys.is_sorted());
    for message in messages {
        let mut filters = conditions(message);
        filters.extend(paths.indexed().filter_map(|path| {
            let json = JsonFilter { path: path.clone(), value: path.text(&event::payload(&message.lent())?)? };
            Some(Filter { json: Some(json), ..Filter::default() })
        }));
        for filter in filters {
            assert!(filter.accepts(message), "{filter:?} is what the message says: {message:?}");
            let (key, of_key) = filter.narrowest(paths);
            assert!(of_key.accepts(message), "{of_key:?} takes less than {filter:?}");
            assert!(key.is_none_or(|key| keys.contains(&key)), "{filter:?} would not find {message:?}");
        }
        if let Some(call_id) = paths.named_call(&message.lent()).filter(|_| event::is_event(message)) {
            assert!(keys.contains(&Key::event(&call_id)), "the event of {call_id:?} would not be found");
        }
    }
}

/// Filters of one condition each that a message meets.
fn conditions(message: &Message) -> Vec<Filter> {
    let Message { captured, sip, .. } = message;
    let none = Filter::default;
    let user = |text: &str| Some(UserFilter::Exact(text.to_owned()));
    let mut filters = vec![
        Filter { src: Some(AddressFilter::Host(captured.src.ip())), ..none() },
        Filter { dst: Some(AddressFilter::Socket(captured.dst)), ..none() },
        Filter { protocol_type: Some(captured.protocol_type), ..none() },
    ];
    filters.extend(sip.call_id.clone().map(|id| Filter { call_id: Some(id), ..none() }));
    filters.extend(captured.tenant.as_deref().map(|name| Filter { tenant: Some(name.into()), ..none() }));
    filters.extend(sip.from_user.as_deref().map(|name| Filter { from_user: user(name), ..none() }));
    filters.extend(sip.to_user.as_deref().map(|name| Filter { to_user: user(name), ..none() }));
    filters.extend(sip.request_user().map(|name| Filter { request_user: user(name), ..none() }));
    for kind in [None, Some(message.kind)] {
        let id = captured.correlation_id.as_deref();
        filters.extend(id.map(|id| Filter { correlation_id: Some(id.into()), kind, ..none() }));
    }
    let class = |status: u16| StatusFilter::Class((status / 100) as u8);
    for status in [None, sip.status.map(StatusFilter::Code), sip.status.map(class)] {
        filters.push(Filter { status, ..none() });
        filters.extend(sip.method.clone().map(|method| Filter { method: Some(method), status, ..none() }));
    }
    filters
}
