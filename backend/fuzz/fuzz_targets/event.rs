//! A configured path, on the first line, over any JSON payload after it: what it names is found by it, and by nothing else.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use siplens_backend::call::event::{self, EventPaths, JsonPath};
use siplens_backend::call::message::{Captured, Message, MessageId, Transport};
use siplens_backend::search::filter::JsonFilter;
use siplens_backend::store::slice::{Cutter, Item};

fuzz_target!(|octets: &[u8]| {
    let Some(end) = octets.iter().position(|octet| *octet == b'\n') else { return };
    let Ok(path) =
        str::from_utf8(&octets[..end]).map_err(drop).and_then(|text| JsonPath::parse(text).map_err(drop))
    else {
        return;
    };
    let raw = bytes::Bytes::copy_from_slice(&octets[end + 1..]);
    let address = ([192, 0, 2, 1], 5060).into();
    let captured = Captured {
        captured_at_us: 1_795_255_200_000_000,
        src: address,
        dst: address,
        transport: Transport::Udp,
        agent_id: 1,
        agent_name: None,
        protocol_type: event::PROTOCOL_LOG,
        tenant: None,
        correlation_id: None,
        call_id: None,
        full_length: None,
        raw,
    };
    let message = Message::read(MessageId::default(), captured.clone());
    let title = event::title(&message.lent());
    assert!(!title.is_empty() && title.chars().count() <= 161 && !title.contains(char::is_control));
    for paths in [
        EventPaths { call_id: vec![path.clone()], index: Vec::new() },
        EventPaths { call_id: Vec::new(), index: vec![path.clone()] },
    ] {
        let item = Item::read(captured.lent(), &paths);
        let cutter = Cutter { paths: Arc::new(paths.clone()), ..Cutter::default() };
        let cut = cutter.cut_items(&[item], 1);
        let [pack] = &cut.packs[..] else { panic!("one message is one pack: {:?}", cut.left_out) };
        common::assert_found(&pack.slices[0], &pack.read().expect("readable"), &paths);
        let named = event::payload(&message.lent()).and_then(|payload| path.text(&payload));
        assert_eq!(paths.named_call(&message.lent()), named.clone().filter(|_| !paths.call_id.is_empty()));
        if let Some(value) = named {
            // As a client would ask for it.
            let asked = JsonFilter::parse(&format!("{}={value}", path.as_str())).expect("a path and a value");
            assert_eq!(asked, JsonFilter { path: path.clone(), value });
        }
    }
});
