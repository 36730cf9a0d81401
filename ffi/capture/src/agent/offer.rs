//! What a host asks of an agent, and what it is answered.

use thiserror::Error;

use crate::collector::UriError;
use crate::message::Message;
use crate::shared::Notice;

/// One message to capture, and what the script said about it.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// What was seen.
    pub message: Message<'a>,
    /// The collector's URI; `None` for the one of the configuration.
    pub collector: Option<&'a [u8]>,
    /// The correlation id; `None` or empty for that of the message's session, of the configured header, of `template`,
    /// or the message's Call-ID, in this order.
    pub correlation: Option<&'a [u8]>,
    /// What the host made of the configured template for this message.
    pub template: Option<&'a [u8]>,
}

/// How much an offer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This message.
    Message,
    /// It, and every other message of its transaction: requests, replies, ACK, CANCEL, retransmissions.
    Transaction,
    /// It, and every other message with its Call-ID.
    Dialog,
}

/// The collectors that were given a message. The host keeps it with the message, so that none is given it twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered(u16);

impl Delivered {
    /// Whether this is the first time for this collector; it is not from now on.
    pub(crate) fn first_time(&mut self, slot: u8) -> bool {
        let bit = 1 << (slot % u16::BITS as u8);
        let first = self.0 & bit == 0;
        self.0 |= bit;
        first
    }
}

/// Whether the rest of the transaction or dialog will be captured, too. The message itself was in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// It will, or was not asked for.
    Yes,
    /// The correlation id is longer than [`MAX_SESSION_ID_BYTES`](crate::MAX_SESSION_ID_BYTES).
    IdTooLong,
    /// There is no Call-ID, or for a transaction no `CSeq`, to know the rest by.
    NoCallId,
    /// No room; see the parameter `sessions`.
    TableFull,
}

impl Followed {
    /// What to log, and under which notice; `None` if there is nothing to say.
    #[must_use]
    pub fn complaint(self) -> Option<(Notice, &'static str)> {
        match self {
            Self::Yes => None,
            Self::IdTooLong => Some((
                Notice::IdTooLong,
                "correlation id longer than 192 octets: only the message itself is captured under it",
            )),
            Self::NoCallId => Some((
                Notice::NoCallId,
                "message without Call-ID or CSeq: nothing else of its call can be captured",
            )),
            Self::TableFull => Some((
                Notice::TableFull,
                "session table full: only the message itself is captured; raise the parameter sessions",
            )),
        }
    }
}

/// Why an offer could not be followed. The proxy's routing goes on; the host is told once per kind.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// The script's URI breaks a rule.
    #[error("collector URI: {0}")]
    BadCollector(UriError),
    /// Neither the script nor the configuration names a collector.
    #[error("no collector: neither the call nor the parameter duplicate_uri names one")]
    NoCollector,
    /// Sixteen others are in use.
    #[error("more than 16 different collectors")]
    TooManyCollectors,
    /// HEP cannot say it.
    #[error("message does not fit HEP")]
    Unencodable,
}

impl Refusal {
    /// Under which notice it is logged.
    #[must_use]
    pub fn notice(self) -> Notice {
        match self {
            Self::BadCollector(_) => Notice::BadCollector,
            Self::NoCollector => Notice::NoCollector,
            Self::TooManyCollectors => Notice::TooManyCollectors,
            Self::Unencodable => Notice::Unencodable,
        }
    }
}
