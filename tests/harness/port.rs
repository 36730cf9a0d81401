//! Ports that are free, and that no other test run takes meanwhile.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};

/// Below the kernel's range for outgoing connections, so that no client socket sits on a port chosen here.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// Locks held until the process ends; the kernel lets go of them even if it is killed.
static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());
static NEXT: AtomicU16 = AtomicU16::new(0);

/// Ports are given out in groups: sipp takes the next but one to its media port as well.
const GROUP: u16 = 4;

/// A port that is free for UDP and TCP, IPv4 and IPv6, on loopback, and so are the three after it. They stay this
/// process's until the process ends.
pub fn free() -> Result<u16> {
    let locks = std::env::temp_dir().join("siplens-test-ports");
    std::fs::create_dir_all(&locks)?;
    let span = (RANGE.end - RANGE.start) / GROUP;
    let start = u16::try_from(std::process::id() % u32::from(span))?;
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = RANGE.start + (start.wrapping_mul(7).wrapping_add(step) % span) * GROUP;
        let Ok(lock) = File::options().create(true).append(true).open(locks.join(port.to_string())) else {
            continue;
        };
        if lock.try_lock().is_ok() && (port..port + GROUP).all(unused) {
            HELD.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(lock);
            return Ok(port);
        }
    }
    bail!("no free port in {RANGE:?}")
}

fn unused(port: u16) -> bool {
    let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    addresses.iter().all(|ip| {
        let address = SocketAddr::new(*ip, port);
        TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
    })
}

/// Whether somebody holds this port over UDP, or listens on it over TCP or SCTP: how sipp shows that it is ready. The kernel's
/// tables are read, since trying to bind would for a moment take the port from whoever is about to.
pub fn is_taken(port: u16) -> bool {
    let local = format!(":{port:04X}");
    let taken = ["udp", "udp6", "tcp", "tcp6"].iter().any(|table| {
        let text = std::fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        text.lines()
            .skip(1)
            .any(|line| line.split_whitespace().nth(1).is_some_and(|address| address.ends_with(&local)))
    });
    // A kernel without SCTP has no such table. The port is in its sixth column, in decimal.
    let endpoints = std::fs::read_to_string("/proc/net/sctp/eps").unwrap_or_default();
    taken || endpoints.lines().any(|line| line.split_whitespace().nth(5) == Some(&port.to_string()))
}
