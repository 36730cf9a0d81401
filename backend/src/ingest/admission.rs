//! Whether a packet is taken.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::spool::{Record, Refused, SpoolHandle};
use crate::telemetry::{Metrics, clock};

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Refusal {
    /// The backend is stopping.
    Closed,
    /// Its compressed payload does not inflate, or to more than the bound.
    Inflate,
    /// It isn't HEP.
    Malformed,
    /// It carries no payload.
    NoPayload,
    /// The spool is full, on disk or in memory.
    SpoolFull,
}

impl Refusal {
    /// The value of the metric's label `result`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Inflate => "inflate",
            Self::Malformed => "malformed",
            Self::NoPayload => "no_payload",
            Self::SpoolFull => "spool_full",
        }
    }
}

/// The door to the spool that all transports share.
#[derive(Clone)]
pub struct Admission {
    spool: SpoolHandle,
    metrics: Arc<Metrics>,
    inflated_bytes: usize,
}

impl Admission {
    /// A door that inflates payloads up to this bound, octets.
    #[must_use]
    pub fn new(spool: SpoolHandle, metrics: Arc<Metrics>, inflated_bytes: usize) -> Self {
        Self { spool, metrics, inflated_bytes }
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Offers one packet to the spool; counted either way. Never waits.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn offer(&self, transport: hep::Transport, peer: SocketAddr, packet: &[u8]) -> Result<(), Refusal> {
        let result = self.check(packet).and_then(|()| self.spool(transport, peer, packet));
        self.count(transport, packet.len(), result);
        result
    }

    /// Whether this is a packet that can be stored.
    ///
    /// # Errors
    /// Why it can't.
    pub fn check(&self, packet: &[u8]) -> Result<(), Refusal> {
        let packet = hep::decode(packet).map_err(|_| Refusal::Malformed)?;
        match packet.payload {
            hep::Payload::None => Err(Refusal::NoPayload),
            hep::Payload::Plain(_) => Ok(()),
            hep::Payload::Compressed(_) => {
                packet.payload.inflate(self.inflated_bytes).map(drop).map_err(|_| Refusal::Inflate)
            }
        }
    }

    /// Offers a packet that was checked; not counted.
    ///
    /// # Errors
    /// [`Refusal::SpoolFull`] and [`Refusal::Closed`].
    pub fn spool(&self, transport: hep::Transport, peer: SocketAddr, packet: &[u8]) -> Result<(), Refusal> {
        let record = Record { received_at_us: clock::now_us(), peer, transport, hep: packet.to_vec() };
        self.spool.offer(record).map_err(|refused| match refused {
            Refused::Closed => Refusal::Closed,
            Refused::Full => Refusal::SpoolFull,
        })
    }

    /// Counts a packet of this size, octets, by what became of it.
    pub fn count(&self, transport: hep::Transport, size: usize, result: Result<(), Refusal>) {
        self.metrics.ingested(transport, result.err().map_or("accepted", Refusal::as_str), size);
    }
}
