//! What clients send: query strings, cursors, tokens of links, times. What is read is what was written, and nothing else is read.
#![no_main]

use std::sync::LazyLock;

use axum::extract::Query;
use axum::http::Uri;
use libfuzzer_sys::fuzz_target;
use siplens_backend::api::query::{CallQuery, CountsQuery, SearchPageQuery, SearchQuery, WindowPageQuery};
use siplens_backend::api::time;
use siplens_backend::call::message::{Message, MessageId};
use siplens_backend::customer::token::{Claim, sign, verify};
use siplens_backend::network::Network;
use siplens_backend::search::cursor::{Cursor, List};

const KEY: [u8; 32] = [7; 32];

/// Something to be looked for.
static MESSAGES: LazyLock<Vec<Message>> = LazyLock::new(|| {
    let vectors = [
        &include_bytes!("../../../ffi/hep/vectors/kamailio-5.6-siptrace-hep3.hexl")[..],
        include_bytes!("../../../ffi/hep/vectors/hep3-rev37-example.hexl"),
    ];
    let octet = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16).expect("hex");
    let lines = vectors.iter().flat_map(|vector| vector.split(|octet| *octet == b'\n'));
    let octets: Vec<u8> = lines.flat_map(|line| line.chunks_exact(2).map(octet)).collect();
    let read = |captured| Message::read(MessageId::default(), captured);
    common::captured(&octets).into_iter().map(read).collect()
});

fn search(uri: &Uri) {
    let Ok(Query(query)) = Query::<SearchQuery<SearchPageQuery>>::try_from_uri(uri) else { return };
    let Ok((filter, rest)) = query.read() else { return };
    let _ = rest.read();
    let (_, of_key) = filter.narrowest(&common::paths());
    for message in MESSAGES.iter() {
        let accepted = filter.accepts(message);
        assert!(!accepted || of_key.accepts(message), "{of_key:?} takes less than {filter:?}");
        assert!(!accepted || filter.may_accept(&message.captured.lent()));
        let raw = &message.captured.raw;
        assert!(!accepted || filter.needles().iter().all(|needle| needle.are_in(raw)), "{filter:?}");
    }
}

fuzz_target!(|octets: &[u8]| {
    if let Some((number, _)) = octets.split_first_chunk::<20>() {
        let [time_us, slice] =
            [&number[..8], &number[8..16]].map(|n| i64::from_be_bytes(n.try_into().expect("eight")));
        let index = u32::from_be_bytes(number[16..].try_into().expect("four"));
        let cursor = Cursor { captured_at_us: time_us, id: MessageId { slice, index } };
        for (list, other) in [(List::Messages, List::Calls), (List::Calls, List::Messages)] {
            assert_eq!(Cursor::decode(list, &cursor.encode(list)).ok(), Some(cursor));
            assert!(Cursor::decode(other, &cursor.encode(list)).is_err());
        }
        let claim =
            Claim { id: uuid::Uuid::from_slice(&number[4..]).expect("sixteen"), expires_at_us: time_us };
        assert_eq!(verify(&sign(claim, &KEY), &KEY), Some(claim));
        assert_eq!(verify(&sign(claim, &KEY), &[8; 32]), None);
        let shown = time::rfc3339(time_us);
        let read = time::parse("since", &shown, 0).unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert!(read == time_us || time_us.unsigned_abs() > 253_000_000_000_000_000, "{shown}");
    }
    let Ok(text) = str::from_utf8(octets) else { return };
    for now_us in [0, 1_795_255_200_000_000, i64::MIN, i64::MAX] {
        let _ = time::parse("since", text, now_us);
    }
    if let Ok(cursor) = Cursor::decode(List::Messages, text) {
        assert_eq!(cursor.encode(List::Messages), text);
    }
    if let Some(claim) = verify(text, &KEY) {
        assert_eq!(sign(claim, &KEY), text);
    }
    if let Some(network) = Network::parse(text) {
        let _ = network.contains(std::net::Ipv4Addr::LOCALHOST.into());
        let _ = network.contains(std::net::Ipv6Addr::LOCALHOST.into());
    }
    let Ok(uri) = Uri::try_from(format!("/?{text}")) else { return };
    search(&uri);
    if let Ok(Query(query)) = Query::<SearchQuery<CountsQuery>>::try_from_uri(&uri)
        && let Ok((_, rest)) = query.read()
    {
        let _ = rest.read();
    }
    if let Ok(Query(query)) = Query::<CallQuery>::try_from_uri(&uri) {
        let _ = query.read();
    }
    if let Ok(Query(query)) = Query::<WindowPageQuery>::try_from_uri(&uri) {
        let _ = query.read();
    }
});
