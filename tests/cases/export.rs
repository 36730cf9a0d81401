//! A call leaves as a file that other tools read.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Agent, Backend, answered_call};

fn backend() -> Result<Backend> {
    let backend = Backend::start()?;
    Agent::udp(backend.hep())?.send_all(&answered_call("exported", "session", Duration::from_secs(30)))?;
    backend.call("exported", 6)?;
    Ok(backend)
}

/// The packets of a classic pcap file: seconds, microseconds, bytes.
fn packets(pcap: &[u8]) -> Result<Vec<(u32, u32, Vec<u8>)>> {
    let word = |at: usize| -> Result<u32> {
        let bytes = pcap.get(at..at + 4).context("the file ends too early")?;
        Ok(u32::from_le_bytes(bytes.try_into()?))
    };
    ensure!(word(0)? == 0xa1b2_c3d4, "not a little-endian pcap with microseconds: {:08x}", word(0)?);
    let mut packets = Vec::new();
    let mut at = 24;
    while at < pcap.len() {
        let length = usize::try_from(word(at + 8)?)?;
        ensure!(word(at + 12)? as usize == length, "a packet was cut");
        let bytes = pcap.get(at + 16..at + 16 + length).context("the file ends too early")?;
        packets.push((word(at)?, word(at + 4)?, bytes.to_vec()));
        at += 16 + length;
    }
    Ok(packets)
}

#[test]
fn a_pcap_holds_every_message_in_order() -> Result<()> {
    let backend = backend()?;
    let response = backend.api().fetch("/api/v1/calls/exported/export?format=pcap")?;
    assert_eq!(response.status, 200);
    assert!(response.header("content-disposition").is_some_and(|value| value.starts_with("attachment")));

    let packets = packets(&response.body)?;
    assert_eq!(packets.len(), 6);
    assert!(packets.is_sorted_by_key(|(seconds, microseconds, _)| (*seconds, *microseconds)));
    for (packet, start) in
        packets.iter().zip(["INVITE ", "SIP/2.0 180 ", "SIP/2.0 200 ", "ACK ", "BYE ", "SIP/2.0 200 "])
    {
        let found = packet.2.windows(start.len()).any(|window| window == start.as_bytes());
        assert!(found, "no {start}");
    }
    Ok(())
}

#[test]
fn tshark_reads_the_pcap_if_it_is_installed() -> Result<()> {
    if Command::new("tshark").arg("--version").output().is_err() {
        // The case above reads the format by itself.
        harness::skipped("tshark_reads_the_pcap_if_it_is_installed", "tshark is not installed");
        return Ok(());
    }
    let backend = backend()?;
    let response = backend.api().fetch("/api/v1/calls/exported/export?format=pcap")?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("call.pcap");
    std::fs::write(&file, &response.body)?;
    let output = Command::new("tshark")
        .arg("-r")
        .arg(&file)
        .args(["-Y", "sip", "-T", "fields", "-e", "sip.Call-ID"])
        .output()?;
    let ids = String::from_utf8(output.stdout)?;
    assert_eq!(ids.lines().filter(|id| *id == "exported").count(), 6, "{ids}");
    Ok(())
}

#[test]
fn text_and_json_hold_every_message() -> Result<()> {
    let backend = backend()?;
    let text = backend.api().fetch("/api/v1/calls/exported/export?format=text")?.text();
    assert_eq!(text.matches("Call-ID: exported").count(), 6, "{text}");
    let json = backend.api().fetch("/api/v1/calls/exported/export?format=json")?;
    assert_eq!(json.json()?["messages"].as_array().map(Vec::len), Some(6));
    assert_eq!(backend.api().fetch("/api/v1/calls/exported/export?format=exe")?.status, 400);
    assert_eq!(backend.api().fetch("/api/v1/calls/no-such-call/export?format=pcap")?.status, 404);
    Ok(())
}
