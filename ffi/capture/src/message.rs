//! One SIP message as it was seen at one place.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use hep::{Timestamp, Transport};

/// One SIP message: its octets, how it travelled, and when it was seen.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The message as it was or will be on the wire, decrypted and unframed.
    pub raw: &'a [u8],
    /// Who sent this message; unknown for what the proxy made up itself.
    pub source: Option<SocketAddr>,
    /// To whom this message goes.
    pub destination: Option<SocketAddr>,
    /// What carries it. The collector is told TLS, WS and WSS apart.
    pub transport: Transport,
    /// When the worker saw it, not when it was sent to the collector.
    pub captured_at: Timestamp,
    /// The Call-ID by which the proxy itself knows the call, where topology hiding puts another one on the wire; `None`
    /// where they are the same.
    pub inner_call_id: Option<&'a [u8]>,
}

impl<'a> Message<'a> {
    /// What is known where there is no message.
    pub const NONE: Self = Self {
        raw: b"",
        source: None,
        destination: None,
        transport: Transport::Udp,
        captured_at: Timestamp { seconds: 0, microseconds: 0 },
        inner_call_id: None,
    };

    /// The Call-ID by which the proxy knows it; `None` if it has none.
    #[must_use]
    #[inline(never)]
    pub fn call_id(&self) -> Option<&'a [u8]> {
        self.inner_call_id.or_else(|| sip::call_id(self.raw))
    }
}

/// The present time; a clock before 1970 or after 2106 gives the nearest time that HEP can say.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: u32::try_from(since.as_secs()).unwrap_or(u32::MAX),
        microseconds: since.subsec_micros(),
    }
}
