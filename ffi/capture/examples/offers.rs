#![forbid(unsafe_code)]
//! Offers a message a given number of times, for an instruction counter: `docs/performance.md` says how.
//!
//! The first argument is how often, the second what is done: `given` (default) and `call-id` say where the correlation id
//! comes from; `unmasked` and `masked` offer with masking on, for a message without and with something to mask; `filters`
//! shows it to four trace filters that do not match.

use std::error::Error;
use std::hint::black_box;
use std::sync::atomic::AtomicU64;

use capture::{Agent, Config, Delivered, Layout, Message, Offer, Settings, Shared, Transport};

/// Octets of the message, as an OPTIONS or a short INVITE has them.
const MESSAGE_BYTES: usize = 520;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let times: u32 = arguments.next().ok_or("how many offers?")?.parse()?;
    let given = Some(&b"1-4242@127.0.0.1"[..]);
    let (correlation, mask, filters) = match arguments.next().as_deref() {
        None | Some("given") => (given, "", 0),
        Some("call-id") => (None, "", 0),
        Some("unmasked") => (given, "Authorization,Proxy-Authorization", 0),
        Some("masked") => (given, "X-Filler", 0),
        Some("filters") => (given, "", 4),
        Some(other) => {
            return Err(format!("expected given, call-id, unmasked, masked or filters, found {other}").into());
        }
    };
    // Large enough that nothing has to be taken out meanwhile.
    let settings = Settings { ring_size_kib: 65_536, mask_headers: mask.to_owned(), ..Settings::default() };
    let config = Config::check(settings).map_err(|errors| format!("{errors:?}"))?;
    let layout = Layout::new(1, config.ring_size_kib).with_sessions(config.sessions).with_filters(filters);
    let words = layout.words().ok_or("too large")?;
    let words = (0..words).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak();
    let shared = Shared::new(words, layout, true).ok_or("memory of the wrong size")?;
    let mut agent = Agent::new(shared, 0, &config).ok_or("no queue")?;

    let mut raw = b"OPTIONS sip:service@127.0.0.1:5060 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-524287-1---abcdef\r\n\
        From: <sip:caller@127.0.0.1>;tag=1\r\nTo: <sip:service@127.0.0.1>\r\n\
        Call-ID: 1-4242@127.0.0.1\r\nCSeq: 1 OPTIONS\r\nContact: <sip:caller@127.0.0.1:5070>\r\n\
        Max-Forwards: 70\r\nContent-Length: 0\r\nX-Filler: "
        .to_vec();
    raw.resize(MESSAGE_BYTES - 4, b'x');
    raw.extend_from_slice(b"\r\n\r\n");

    for number in 0..filters {
        let words = [format!("caller=c{number}"), "collector=sip:127.0.0.1:9060".to_owned()];
        shared.add_trace_filter(words.iter().map(String::as_bytes), &config)?;
    }
    for _ in 0..times {
        let message = Message {
            raw: black_box(&raw),
            source: black_box(Some(([127, 0, 0, 1], 5070).into())),
            destination: black_box(Some(([127, 0, 0, 1], 5060).into())),
            transport: black_box(Transport::Udp),
            captured_at: capture::now(),
            inner_call_id: None,
        };
        if filters > 0 {
            agent.observe(&message, &mut Delivered::default())?;
            continue;
        }
        let collector = black_box(Some(&b"sip:127.0.0.1:9060"[..]));
        agent.offer(&Offer { message, collector, correlation: black_box(correlation), template: None })?;
    }
    let stats = shared.stats();
    if stats.in_queue != if filters > 0 { 0 } else { u64::from(times) } {
        return Err(format!("not all were queued: {stats:?}").into());
    }
    Ok(())
}
