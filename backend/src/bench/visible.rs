//! From a message's arrival until a search finds it, while other messages come at a rate.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hep::{Seen, Template, Timestamp, Transport};

use super::client::Client;
use super::load::Load;
use super::report::Spread;
use crate::api::time::rfc3339;
use crate::telemetry::clock::now_us;

/// From one probe to the next.
const EVERY: Duration = Duration::from_millis(50);

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(10);

/// A probe that is not found after so long is lost.
const LOST: Duration = Duration::from_secs(30);

/// Sends the load, and probes meanwhile over a stream of their own; how long each took to be found.
///
/// # Errors
/// When the load cannot be sent, the backend does not answer, or a probe is never found.
pub fn measure(load: Load, client: &Client) -> Result<Spread> {
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || load.send());
        let probes = Probes::new(load.target, client)?.run(|| sender.is_finished());
        match sender.join() {
            Ok(sent) => drop(sent?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        probes
    })
}

struct Probes<'a> {
    stream: TcpStream,
    client: &'a Client,
    template: Template,
    session: String,
    /// Sent and not found yet, by number: when, by both clocks.
    open: BTreeMap<usize, (Instant, i64)>,
    sent: usize,
    found: Vec<Duration>,
}

impl<'a> Probes<'a> {
    fn new(target: SocketAddr, client: &'a Client) -> Result<Self> {
        let stream = TcpStream::connect(target)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            client,
            template: Template::new(2999, 1, None, None),
            session: format!("visible-{}", std::process::id()),
            open: BTreeMap::new(),
            sent: 0,
            found: Vec::new(),
        })
    }

    /// Probes until `ended`, and waits for the last.
    fn run(mut self, ended: impl Fn() -> bool) -> Result<Spread> {
        let begun = Instant::now();
        loop {
            let ending = ended();
            if !ending && begun.elapsed() >= EVERY * u32::try_from(self.sent)? {
                self.send()?;
            }
            if let Some((_, since_us)) = self.open.first_key_value().map(|(_, at)| *at) {
                self.look(since_us)?;
            } else if ending {
                return Ok(Spread::of(self.found));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn send(&mut self) -> Result<()> {
        let number = self.sent;
        self.sent += 1;
        let host = SocketAddr::from(([192, 0, 2, 1], 5060));
        let at_us = now_us();
        let payload = format!(
            "OPTIONS sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKprobe{number}\r\n\
             From: <sip:probe@192.0.2.1>;tag=p{number}\r\nTo: <sip:probe@192.0.2.1>\r\nCall-ID: probe-{number}\r\n\
             CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        let seen = Seen {
            source: Some(&host),
            destination: Some(&host),
            transport: Transport::Udp,
            time: Timestamp::from_micros(at_us).unwrap_or(Timestamp { seconds: 0, microseconds: 0 }),
            correlation_id: Some(self.session.as_bytes()),
            call_id: None,
            full_length: None,
        };
        let mut packet = self.template.head(&seen, payload.len())?.to_vec();
        packet.extend_from_slice(payload.as_bytes());
        self.open.insert(number, (Instant::now(), at_us));
        Ok(self.stream.write_all(&packet)?)
    }

    fn look(&mut self, since_us: i64) -> Result<()> {
        let path = format!(
            "/api/v1/messages?correlation_id={}&limit=1000&since={}",
            self.session,
            rfc3339(since_us)
        );
        let page = self.client.get(&path)?;
        for item in page["items"].as_array().into_iter().flatten() {
            let number = item["call_id"].as_str().and_then(|id| id.strip_prefix("probe-")?.parse().ok());
            if let Some((at, _)) = number.and_then(|number: usize| self.open.remove(&number)) {
                self.found.push(at.elapsed());
            }
        }
        let lost = self.open.values().any(|(at, _)| at.elapsed() > LOST);
        ensure!(!lost, "a message that came {LOST:?} ago is not found");
        Ok(())
    }
}
