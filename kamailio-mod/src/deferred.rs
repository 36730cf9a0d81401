//! Calls in `onsend_route` for a message that goes by a connection.
//!
//! There the connection may not be open yet, and our end of it is unknown. So the call waits until the host shows the
//! message as sent, which is the next thing that this process does with it. It keeps the time at which the script called.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use capture::{Agent, COLLECTORS, Delivered, Message, Offer, Scope, Timestamp, Transport};
use kamailio_sys::dest_info;

use crate::{calls, connection};

/// Whether a call waits in this process; read for each message that is sent.
static WAITS: AtomicBool = AtomicBool::new(false);

/// Whether a call waits in this process.
pub fn waits() -> bool {
    WAITS.load(Ordering::Relaxed)
}

/// The calls that wait, all for one message. Their room is used again and again.
#[derive(Default)]
pub struct Deferred {
    raw: Vec<u8>,
    calls: Vec<Call>,
    /// How many of them wait.
    waiting: usize,
}

#[derive(Default)]
struct Call {
    ends: [Option<SocketAddr>; 2],
    collector: Argument,
    correlation: Argument,
    template: Argument,
    way: Option<(Transport, Timestamp)>,
}

impl Deferred {
    pub fn new() -> Self {
        Self { raw: Vec::with_capacity(4096), ..Self::default() }
    }

    /// Whether what waits is for this message.
    pub fn is_for(&self, raw: &[u8]) -> bool {
        self.waiting > 0 && self.raw == raw
    }

    /// Copies a call. `false` if there is no room: more would be no use, as no message goes to more collectors.
    pub fn keep(&mut self, offer: &Offer<'_>) -> bool {
        let Message { raw, source, destination, transport, captured_at, .. } = offer.message;
        if self.waiting == COLLECTORS {
            return false;
        }
        if self.waiting == self.calls.len() {
            self.calls.push(Call::default());
        }
        let Some(call) = self.calls.get_mut(self.waiting) else { return false };
        call.ends = [source, destination];
        call.way = Some((transport, captured_at));
        call.collector.keep(offer.collector);
        call.correlation.keep(offer.correlation);
        call.template.keep(offer.template);
        self.raw.clear();
        self.raw.extend_from_slice(raw);
        self.waiting += 1;
        WAITS.store(true, Ordering::Relaxed);
        true
    }

    /// Captures what waits. `sent` says where the message went; without, it was never sent, and the connection is unknown.
    /// Answers who got it.
    ///
    /// # Safety
    /// The socket in the destination must be null or valid, which holds while the host sends.
    pub unsafe fn release(&mut self, agent: &mut Agent, sent: Option<&dest_info>) -> Delivered {
        WAITS.store(false, Ordering::Relaxed);
        let waiting = std::mem::take(&mut self.waiting);
        let mut delivered = Delivered::default();
        for call in self.calls.iter().take(waiting) {
            let Some((transport, captured_at)) = call.way else { continue };
            let [source, destination] = call.ends;
            let mut message =
                Message { raw: &self.raw, source, destination, transport, captured_at, inner_call_id: None };
            // SAFETY: the caller vouches for the destination.
            let known = sent.is_some_and(|to| unsafe { connection::locate(&mut message, to) });
            if !known {
                agent.count_unknown_port();
            }
            let offer = Offer {
                message,
                collector: call.collector.get(),
                correlation: call.correlation.get(),
                template: call.template.get(),
            };
            let outcome = agent.follow(&offer, Scope::Message, &mut delivered);
            calls::tell(outcome, offer.collector);
        }
        delivered
    }
}

/// An argument that may be missing, which is not the same as empty.
#[derive(Default)]
struct Argument {
    given: bool,
    text: Vec<u8>,
}

impl Argument {
    fn keep(&mut self, text: Option<&[u8]>) {
        self.given = text.is_some();
        self.text.clear();
        self.text.extend_from_slice(text.unwrap_or_default());
    }

    fn get(&self) -> Option<&[u8]> {
        self.given.then_some(&self.text)
    }
}
