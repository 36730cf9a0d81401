//! A proxy alone, a bare collector, and requests whose user tells the script what to do.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::collector::Seen;
use harness::{Collector, Kamailio, Proxy, Setup, eventually};

pub const LIMIT: Duration = Duration::from_secs(20);
pub const SIP: Option<u8> = Some(1);
pub const LOG: Option<u8> = Some(100);

/// A proxy, and somebody who sends it requests.
pub struct Scene {
    pub collector: Collector,
    pub proxy: Kamailio,
    pub caller: UdpSocket,
}

impl Scene {
    pub fn new(case: &str, adjust: impl FnOnce(Setup) -> Setup) -> Result<Self> {
        let collector = Collector::start()?;
        let setup = Setup::case(case, collector.address(), "sip:127.0.0.1:9".to_owned());
        let proxy = Kamailio::start(&adjust(setup))?;
        let caller = UdpSocket::bind("127.0.0.1:0")?;
        Ok(Self { collector, proxy, caller })
    }

    /// Sends a request to `user`, whose name chooses what the script does; the answer is the reason of its reply.
    pub fn ask(&self, user: &str, call_id: &str, headers: &str) -> Result<String> {
        let reply = ask(&self.caller, self.proxy.sip(), user, call_id, headers)?;
        Ok(reply.strip_prefix("SIP/2.0 200 is ").with_context(|| reply.clone())?.to_owned())
    }

    /// What has come when `count` packets have, and no more; by time of capture, since each process has its own queue.
    pub fn packets(&mut self, count: usize) -> Result<Vec<Seen>> {
        let packets = self.collector.wait_for(count, LIMIT)?;
        eventually("an empty queue", LIMIT, || {
            ensure!(self.proxy.stats()?["in_queue"] == 0);
            Ok(())
        })?;
        let mut packets = self.collector.wait_for(packets.len(), LIMIT)?;
        ensure!(packets.len() == count, "{packets:?}");
        packets.sort_by_key(|packet| packet.captured_at_us);
        Ok(packets)
    }
}

/// Sends an OPTIONS and waits for its reply; the answer is the first line.
pub fn ask(
    caller: &UdpSocket,
    proxy: SocketAddr,
    user: &str,
    call_id: &str,
    headers: &str,
) -> Result<String> {
    let request = format!(
        "OPTIONS sip:{user}@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK-{call_id}-{user}\r\n\
         From: <sip:alice@example.com>;tag=a\r\nTo: <sip:{user}@example.com>\r\nCall-ID: {call_id}\r\n\
         CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n{headers}Content-Length: 0\r\n\r\n",
        caller.local_addr()?
    );
    caller.set_read_timeout(Some(LIMIT))?;
    caller.send_to(request.as_bytes(), proxy)?;
    let mut bytes = [0; 4096];
    let len = caller.recv(&mut bytes)?;
    let reply = String::from_utf8_lossy(&bytes[..len]);
    Ok(reply.lines().next().unwrap_or_default().to_owned())
}

pub fn id(packet: &Seen) -> &str {
    packet.correlation_id.as_deref().unwrap_or_default()
}
