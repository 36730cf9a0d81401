//! What should never come, comes.

use std::time::Duration;

use anyhow::Result;
use harness::{Agent, Backend, Observed, eventually};

/// Fails unless a good message still gets in.
fn still_takes(backend: &Backend, call_id: &str) -> Result<()> {
    Agent::udp(backend.hep())?.send(&Observed::request("OPTIONS", call_id, 1))?;
    backend.call(call_id, 1)?;
    Agent::tcp(backend.hep())?.send(&Observed::request("OPTIONS", call_id, 2))?;
    backend.call(call_id, 2)?;
    Ok(())
}

#[test]
fn a_message_that_is_not_sip_is_kept_and_found() -> Result<()> {
    let backend = Backend::start()?;
    let mut agent = Agent::udp(backend.hep())?;
    for bytes in
        [&b"INVITE\r\n\r\n"[..], b"\x00\x01\x02\xff\xfe", b"", b"GET / HTTP/1.1\r\n\r\n", b"\r\n\r\n"]
    {
        agent.send(&Observed::raw(bytes).in_session("broken"))?;
    }
    still_takes(&backend, "after-malformed")?;
    let found = eventually("malformed messages", Duration::from_secs(20), || {
        let found = backend.api().all("/api/v1/messages?kind=malformed&correlation_id=broken")?;
        anyhow::ensure!(found.len() >= 4, "{}", found.len());
        Ok(found)
    })?;
    assert!(
        found.iter().all(|message| message["kind"] == "malformed" && message["correlation_id"] == "broken")
    );
    assert!(found.iter().any(|message| message["raw"] == "INVITE\r\n\r\n"));
    Ok(())
}

#[test]
fn sip_with_broken_headers_is_kept_with_what_can_be_read() -> Result<()> {
    let backend = Backend::start()?;
    let raw = "INVITE sip:bob@x SIP/2.0\r\nCall-ID: half\r\nCSeq: nonsense\r\nFrom\r\nVia: \r\nContent-Length: 999999\r\n\r\n";
    Agent::udp(backend.hep())?.send(&Observed::raw(raw).in_session("half"))?;
    let call = backend.call("half", 1)?;
    assert_eq!(call["messages"][0]["raw"], raw);
    assert!(call["messages"][0]["cseq"].is_null());
    Ok(())
}

#[test]
fn bytes_that_are_not_hep_are_counted_and_harm_nobody() -> Result<()> {
    let backend = Backend::start()?;
    let good = Observed::request("OPTIONS", "whole", 1).encode()?;
    let mut packets =
        vec![b"".to_vec(), b"\0".to_vec(), b"HEP3".to_vec(), b"HEP3\xff\xff".to_vec(), vec![0xff; 60_000]];
    packets.extend((0..good.len()).map(|length| good[..length].to_vec()));
    packets.extend((0..good.len()).map(|position| {
        let mut flipped = good.clone();
        flipped[position] ^= 0xff;
        flipped
    }));
    let mut datagrams = Agent::udp(backend.hep())?;
    for (sent, packet) in packets.iter().enumerate() {
        datagrams.send_bytes(packet)?;
        // Each stream is closed after its nonsense; not every packet needs one.
        if sent % 16 == 0 {
            let mut stream = Agent::tcp(backend.hep())?;
            let _ = stream.send_bytes(packet);
        }
    }
    still_takes(&backend, "after-garbage")?;
    let refused = backend.api().fetch("/metrics")?.text();
    assert!(
        refused.lines().any(|line| line.starts_with("siplens_ingest_")
            && !line.contains("result=\"ok\"")
            && !line.ends_with(" 0")),
        "nothing was counted as refused:\n{refused}"
    );
    Ok(())
}

#[test]
fn other_protocols_are_kept_as_other() -> Result<()> {
    let backend = Backend::start()?;
    let log = Observed { protocol_type: 100, ..Observed::raw("a log line of the proxy") };
    Agent::udp(backend.hep())?.send(&log.in_session("with-log"))?;
    let found = eventually("the log line", Duration::from_secs(20), || {
        let found = backend.api().get("/api/v1/messages?correlation_id=with-log")?;
        anyhow::ensure!(found["items"][0]["kind"] == "other", "{found}");
        Ok(found)
    })?;
    assert_eq!(found["items"][0]["protocol_type"], 100);
    Ok(())
}
