//! What passed the loopback interface, and when, in the kernel's own clock: sipp's has ten milliseconds.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::process::Process;
use tempfile::TempDir;

/// `dumpcap` at work. It needs the right to capture, which root has.
pub struct Wire {
    process: Process,
    dir: TempDir,
}

/// One SIP message over UDP and IPv4.
pub struct Packet {
    /// Microseconds since 1970.
    pub at: u64,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub call_id: String,
    /// `INVITE`, or for a reply its status and the method: `180 INVITE`.
    pub what: String,
}

impl Wire {
    pub fn start(port: u16) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("siplens-wire-").tempdir()?;
        let mut command = Command::new("dumpcap");
        command.args(["-q", "-P", "-i", "lo", "-B", "64", "-f", &format!("udp port {port}"), "-w"]);
        command.arg(dir.path().join("wire.pcap"));
        let mut process = Process::start("dumpcap", command, &dir.path().join("log"), false)?;
        let file = dir.path().join("wire.pcap");
        process.wait_ready(Duration::from_secs(10), || file.metadata().is_ok_and(|file| file.len() >= 24))?;
        Ok(Self { process, dir })
    }

    /// Everything seen so far, in order.
    pub fn stop(mut self) -> Result<Vec<Packet>> {
        // The kernel hands over what it has within this time.
        std::thread::sleep(Duration::from_secs(1));
        self.process.terminate()?;
        let log = self.process.log();
        ensure!(log.contains("(100.0%)"), "packets were missed: {log}");
        read(&self.dir.path().join("wire.pcap"))
    }
}

/// Reads a pcap file in this machine's octet order.
fn read(file: &Path) -> Result<Vec<Packet>> {
    let octets = std::fs::read(file)?;
    let mut left = octets.get(24..).context("no pcap header")?;
    let mut packets = Vec::new();
    while let Some((head, rest)) = left.split_first_chunk::<16>() {
        let field =
            |at: usize| head[at..at + 4].iter().rev().fold(0u64, |word, &octet| word << 8 | u64::from(octet));
        let len = usize::try_from(field(8))?;
        let Some((frame, rest)) = rest.split_at_checked(len) else { break };
        left = rest;
        packets.extend(packet(field(0) * 1_000_000 + field(4), frame));
    }
    Ok(packets)
}

fn packet(at: u64, frame: &[u8]) -> Option<Packet> {
    const ETHERNET: usize = 14;
    let ip = frame.get(ETHERNET..)?;
    let udp = ip.get(usize::from(ip.first()? & 0x0f) * 4..)?;
    let port = |at: usize| Some(u16::from_be_bytes([*udp.get(at)?, *udp.get(at + 1)?]));
    let host =
        |at: usize| Some(Ipv4Addr::new(*ip.get(at)?, *ip.get(at + 1)?, *ip.get(at + 2)?, *ip.get(at + 3)?));
    let text = std::str::from_utf8(udp.get(8..)?).ok()?;
    let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let method = header("CSeq: ")?.split(' ').nth(1)?.trim();
    let start = text.lines().next()?;
    let what = match start.strip_prefix("SIP/2.0 ") {
        Some(reply) => format!("{} {method}", reply.get(..3)?),
        None => start.split(' ').next()?.to_owned(),
    };
    Some(Packet {
        at,
        from: (host(12)?, port(0)?).into(),
        to: (host(16)?, port(2)?).into(),
        call_id: header("Call-ID: ")?.trim().to_owned(),
        what,
    })
}

/// First time that each message of each call was seen between two ends; `None` stands for any.
pub fn first_seen(packets: &[Packet], wanted: impl Fn(&Packet) -> bool) -> HashMap<(&str, &str), u64> {
    let mut seen = HashMap::new();
    for packet in packets.iter().filter(|packet| wanted(packet)) {
        seen.entry((packet.call_id.as_str(), packet.what.as_str())).or_insert(packet.at);
    }
    seen
}
