//! Why a packet is not taken.

use crate::ingest::Way;

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Refusal {
    /// The backend is stopping.
    Closed,
    /// Its compressed payload does not inflate, or to more than the bound.
    Inflate,
    /// Its key is missing, unknown, or another agent's.
    Key,
    /// It isn't HEP.
    Malformed,
    /// It holds what has to be made unreadable, and is too long to be written so.
    Mask,
    /// Its peer is not in an allowed network.
    Network,
    /// It carries no payload.
    NoPayload,
    /// Its peer sends more than the rate allows.
    Rate,
    /// It is longer than the bound, or has no room for the name of its tenant.
    Size,
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
            Self::Key => "key",
            Self::Malformed => "malformed",
            Self::Mask => "mask",
            Self::Network => "network",
            Self::NoPayload => "no_payload",
            Self::Rate => "rate",
            Self::Size => "size",
            Self::SpoolFull => "spool_full",
        }
    }

    /// Whether the packet itself is at fault, and worth a look.
    pub(super) const fn is_garbage(self) -> bool {
        matches!(self, Self::Inflate | Self::Malformed | Self::NoPayload | Self::Size)
    }
}

/// Why a packet is not in the spool.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Not {
    /// A rule leaves it out. To its sender it is as good as taken.
    LeftOut(&'static str),
    Refused(Refusal),
}

impl Not {
    /// What it is counted under.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::LeftOut(why) => why,
            Self::Refused(refusal) => refusal.as_str(),
        }
    }

    /// Whether the packet, if it is numbered, will not be taken another time either. A datagram does not come again.
    pub(super) const fn is_final(self, way: Way) -> bool {
        match self {
            Self::LeftOut(_) => true,
            Self::Refused(Refusal::SpoolFull | Refusal::Closed) => way.is_datagram(),
            // Whoever has no key has no say in what is missing.
            Self::Refused(Refusal::Key) => false,
            Self::Refused(_) => true,
        }
    }
}

impl From<Refusal> for Not {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
