//! Messages that a host shows more than once: what is remembered of them in between.

use std::net::SocketAddr;

use hep::{Timestamp, Transport};

use crate::agent::Delivered;
use crate::message::Message;

/// A message that is met a second time, and to whom it was delivered the first time.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// Address of its octets; compared, never read.
    pub buffer: usize,
    /// To whom it was delivered.
    pub delivered: Delivered,
}

impl Shown {
    /// The message whose octets begin at `raw`.
    #[must_use]
    #[inline]
    pub fn new(raw: &[u8], delivered: Delivered) -> Option<Self> {
        Some(Self { buffer: raw.as_ptr().addr(), delivered })
    }

    /// To whom the message was delivered whose octets begin at `raw`; another one to nobody.
    #[must_use]
    #[inline]
    pub fn delivered(shown: Option<Self>, raw: &[u8]) -> Delivered {
        shown
            .filter(|shown| shown.buffer == raw.as_ptr().addr())
            .map(|shown| shown.delivered)
            .unwrap_or_default()
    }
}

/// A copy of a message that waits until the script has ended. Its room is used again and again.
#[derive(Debug)]
pub struct Held {
    raw: Vec<u8>,
    inner_call_id: Vec<u8>,
    /// Source, destination, transport and time; `None` while nothing waits.
    known: Option<(Option<SocketAddr>, Option<SocketAddr>, Transport, Timestamp)>,
}

impl Default for Held {
    fn default() -> Self {
        Self { raw: Vec::with_capacity(4096), inner_call_id: Vec::new(), known: None }
    }
}

impl Held {
    /// Copies a message, in place of one that still waits.
    pub fn keep(&mut self, message: &Message<'_>) {
        self.raw.clear();
        self.raw.extend_from_slice(message.raw);
        self.inner_call_id.clear();
        self.inner_call_id.extend_from_slice(message.inner_call_id.unwrap_or_default());
        self.known = Some((message.source, message.destination, message.transport, message.captured_at));
    }

    /// The message that waits, once.
    pub fn take(&mut self) -> Option<Message<'_>> {
        let (source, destination, transport, captured_at) = self.known.take()?;
        let inner_call_id = Some(self.inner_call_id.as_slice()).filter(|call_id| !call_id.is_empty());
        Some(Message { raw: &self.raw, source, destination, transport, captured_at, inner_call_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_again_by_where_it_lies() {
        let mut delivered = Delivered::default();
        assert!(delivered.first_time(3));
        let octets = *b"one two";
        let shown = Shown::new(&octets, delivered);
        assert_eq!(Shown::delivered(shown, &octets), delivered);
        assert_eq!(Shown::delivered(shown, &octets[4..]), Delivered::default());
        assert_eq!(Shown::delivered(None, &octets), Delivered::default());
    }

    #[test]
    fn what_waits_is_handed_out_once_and_as_it_was() {
        let mut held = Held::default();
        assert!(held.take().is_none());
        let message = Message {
            raw: b"octets",
            source: Some(([192, 0, 2, 1], 5060).into()),
            destination: None,
            transport: Transport::Tls,
            captured_at: Timestamp { seconds: 1, microseconds: 2 },
            inner_call_id: Some(b"inner"),
        };
        held.keep(&Message { raw: b"longer than the next", inner_call_id: Some(b"another"), ..message });
        held.keep(&message);
        let found = held.take().unwrap();
        assert_eq!((found.raw, found.source, found.destination), (message.raw, message.source, None));
        assert_eq!((found.transport, found.captured_at), (message.transport, message.captured_at));
        assert_eq!(found.inner_call_id, message.inner_call_id);
        assert!(held.take().is_none());
        held.keep(&Message { inner_call_id: None, ..message });
        assert_eq!(held.take().unwrap().inner_call_id, None);
    }
}
