//! What of the traffic is looked for afterwards, and what must be found.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use super::traffic::Due;

/// So many calls are kept as samples at least, if there are that many, and twice as many at most.
const CALLS: usize = 1000;

/// A call all of whose messages were sent.
#[derive(Clone, Debug)]
pub struct Call {
    /// Call-ID.
    pub call_id: String,
    /// How many messages it has.
    pub messages: usize,
    /// User of From.
    pub caller: String,
    /// Whether that user has many calls.
    pub is_hot: bool,
    /// Address of the caller's telephone.
    pub host: Ipv4Addr,
    /// When its last message was captured, µs since 1970.
    pub ended_us: i64,
}

/// What was kept.
#[derive(Debug, Default)]
pub struct Samples {
    /// Calls, from all of the time.
    pub calls: Vec<Call>,
    /// Correlation ids of large sessions all of whose calls were sent, with how many messages each has.
    pub sessions: Vec<(String, usize)>,
    ended: usize,
    /// Of so many calls one is kept, as a power of two.
    halved: u32,
    /// Of each session that goes on: calls that ended, messages of these.
    open: HashMap<String, (u32, usize)>,
    session_size: u32,
}

impl Samples {
    /// Of traffic with large sessions of so many calls.
    #[must_use]
    pub fn new(session_size: u32) -> Self {
        Self { session_size, ..Self::default() }
    }

    /// Looks at a message that was sent.
    pub fn note(&mut self, due: &Due, captured_us: i64) {
        let Some(messages) = due.ends_after else { return };
        self.ended += 1;
        if due.names.is_in_large_session() {
            let id = text(&due.names.correlation_id());
            let open = self.open.entry(id.clone()).or_default();
            *open = (open.0 + 1, open.1 + messages);
            if open.0 == self.session_size {
                self.sessions.push((id, open.1));
            }
        }
        // Full, every second sample goes, and from then on only half as many come: they stay spread over all of the time.
        if !self.ended.is_multiple_of(1 << self.halved) {
            return;
        }
        if self.calls.len() == 2 * CALLS {
            let mut place = 0;
            self.calls.retain(|_| {
                place += 1;
                place % 2 == 0
            });
            self.halved += 1;
        }
        self.calls.push(Call {
            call_id: text(&due.names.call_id()),
            messages,
            caller: text(&due.names.caller()),
            is_hot: due.names.is_hot(),
            host: due.names.host(),
            ended_us: captured_us,
        });
    }
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
