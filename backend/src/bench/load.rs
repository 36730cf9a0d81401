//! Sends the traffic to a backend as capture agents would, over TCP or UDP, at a rate or as fast as it is taken.

use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hep::{Seen, Template, Timestamp, Transport};

use super::cost;
use super::forms::Texts;
use super::samples::Samples;
use super::traffic::{Due, Traffic};
use crate::telemetry::clock::now_us;

/// What a stream is written in.
const WRITE_BYTES: usize = 128 * 1024;

/// So many messages a second are simulated if neither that nor a rate was asked for.
const DEFAULT_SIMULATED: u32 = 100_000;

/// How the wire is used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Wire {
    /// One stream: the backend holds it back when it has no room.
    Tcp,
    /// A datagram a message: what does not fit is lost.
    Udp,
}

/// What is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Where the backend takes HEP.
    pub target: SocketAddr,
    /// How.
    pub wire: Wire,
    /// How many messages.
    pub messages: u64,
    /// Messages a second; `None` for as fast as they are taken.
    pub rate: Option<u32>,
    /// Messages a second by their times of capture; `None` for the rate.
    pub simulated_rate: Option<u32>,
    /// The same seed gives the same messages but for their times.
    pub seed: u64,
    /// Calls of a large session.
    pub session_calls: u32,
}

/// What was sent.
#[derive(Debug)]
pub struct Sent {
    /// Messages, all of them given to the kernel.
    pub messages: u64,
    /// Octets of SIP.
    pub sip_bytes: u64,
    /// Octets of HEP.
    pub hep_bytes: u64,
    /// From the first message to the last.
    pub elapsed: Duration,
    /// When the first was sent.
    pub begun: Instant,
    /// Processor time of this process for it.
    pub cpu: Duration,
    /// Time of capture of the first and the last message, µs since 1970.
    pub captured_us: (i64, i64),
    /// Calls of a large session.
    pub session_calls: u32,
    /// What may be looked for afterwards.
    pub samples: Samples,
}

impl Load {
    /// Sends all of it.
    ///
    /// # Errors
    /// When the backend cannot be reached, or closes the stream.
    pub fn send(&self) -> Result<Sent> {
        let simulated = self.simulated_rate.or(self.rate).unwrap_or(DEFAULT_SIMULATED);
        let mut wire = Open::connect(self.wire, self.target)?;
        let lasts_us = i64::try_from(u128::from(self.messages) * 1_000_000 / u128::from(simulated.max(1)))?;
        // Paced in real time the first message is captured now, else the last.
        let real_time = self.rate == Some(simulated);
        let first_us = if real_time { now_us() } else { now_us() - lasts_us };
        let mut packets = Packets::new(self.seed, simulated, self.session_calls, first_us);
        let mut sent = Sent {
            messages: 0,
            sip_bytes: 0,
            hep_bytes: 0,
            elapsed: Duration::ZERO,
            begun: Instant::now(),
            cpu: cost::own_cpu()?,
            captured_us: (first_us, first_us),
            session_calls: self.session_calls,
            samples: Samples::new(self.session_calls),
        };
        let mut pace = Pace { rate: self.rate, begun: sent.begun, allowed: 0 };
        while sent.messages < self.messages {
            if sent.messages >= pace.allowed {
                wire.flush()?;
                pace.wait(sent.messages);
            }
            let made = packets.make()?;
            wire.send(made.hep)?;
            sent.sip_bytes += made.sip_bytes as u64;
            sent.hep_bytes += made.hep.len() as u64;
            sent.messages += 1;
            sent.captured_us.1 = made.captured_us;
            sent.samples.note(&made.due, made.captured_us);
        }
        wire.flush()?;
        sent.elapsed = sent.begun.elapsed();
        sent.cpu = cost::own_cpu()?.saturating_sub(sent.cpu);
        Ok(sent)
    }
}

/// The traffic as packets, one after the other.
pub struct Packets {
    traffic: Traffic,
    texts: Texts,
    agents: [Template; 4],
    first_us: i64,
    packet: Vec<u8>,
}

/// A packet that was made.
struct Made<'a> {
    due: Due,
    captured_us: i64,
    sip_bytes: usize,
    hep: &'a [u8],
}

impl Packets {
    /// Packets of the traffic with this seed, so many messages a second and sessions of so many calls; the first was
    /// captured at that time, µs since 1970.
    #[must_use]
    pub fn new(seed: u64, per_second: u32, session_calls: u32, first_us: i64) -> Self {
        Self {
            traffic: Traffic::new(seed, per_second, session_calls),
            texts: Texts::prepare(),
            agents: [0, 1, 2, 3].map(|n| Template::new(2001 + n, 1, None, None)),
            first_us,
            packet: Vec::with_capacity(4096),
        }
    }

    /// The next packet, as its agent sends it.
    ///
    /// # Errors
    /// When its time is none that HEP can say.
    pub fn next_packet(&mut self) -> Result<&[u8]> {
        Ok(self.make()?.hep)
    }

    fn make(&mut self) -> Result<Made<'_>> {
        let due = self.traffic.next_due();
        let captured_us = self.first_us.saturating_add(i64::try_from(due.at_us)?);
        let agent = self.agents.get_mut(due.names.proxy()).context("a proxy without agent")?;
        let (source, destination, _) = due.names.way(due.form);
        let sip_bytes = self.texts.length(due.form, &due.names);
        let seen = Seen {
            source: Some(&source),
            destination: Some(&destination),
            transport: Transport::Udp,
            time: Timestamp::from_micros(captured_us).context("a time that HEP cannot say")?,
            correlation_id: Some(&due.names.correlation_id()),
            call_id: None,
            full_length: None,
        };
        self.packet.clear();
        self.packet.extend_from_slice(agent.head(&seen, sip_bytes)?);
        self.texts.append(due.form, &due.names, &mut self.packet);
        Ok(Made { due, captured_us, sip_bytes, hep: &self.packet })
    }
}

/// Lets so many messages go as the rate allows by now.
struct Pace {
    rate: Option<u32>,
    begun: Instant,
    allowed: u64,
}

impl Pace {
    /// Returns when more than `sent` are allowed.
    fn wait(&mut self, sent: u64) {
        let Some(rate) = self.rate else {
            self.allowed = u64::MAX;
            return;
        };
        loop {
            let allowed = self.begun.elapsed().as_micros() * u128::from(rate) / 1_000_000;
            self.allowed = u64::try_from(allowed).unwrap_or(u64::MAX);
            if self.allowed > sent {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

enum Open {
    Tcp(TcpStream, Vec<u8>),
    Udp(UdpSocket),
}

impl Open {
    fn connect(wire: Wire, target: SocketAddr) -> Result<Self> {
        Ok(match wire {
            Wire::Tcp => {
                let stream = TcpStream::connect(target).with_context(|| format!("tcp to {target}"))?;
                Self::Tcp(stream, Vec::with_capacity(WRITE_BYTES * 2))
            }
            Wire::Udp => {
                let local = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(local)?;
                socket.connect(target).with_context(|| format!("udp to {target}"))?;
                Self::Udp(socket)
            }
        })
    }

    fn send(&mut self, packet: &[u8]) -> Result<()> {
        match self {
            Self::Tcp(_, waiting) => {
                waiting.extend_from_slice(packet);
                if waiting.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
            }
            Self::Udp(socket) => match socket.send(packet) {
                Ok(_) => Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    bail!("udp: nothing listens there")
                }
                Err(error) => Err(error).context("udp"),
            },
        }
    }

    fn flush(&mut self) -> Result<()> {
        if let Self::Tcp(stream, waiting) = self {
            stream.write_all(waiting).context("tcp: the backend closed the stream")?;
            waiting.clear();
        }
        Ok(())
    }
}
