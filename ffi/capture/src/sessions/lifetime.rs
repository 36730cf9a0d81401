//! How long a session is kept after each of its messages.

use super::{Facts, Life};
use crate::agent::Scope;

/// Seconds for which a call may ring without a word; proxies give up after three minutes.
const RINGING: u64 = 300;

/// The two lifetimes that an operator sets, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    pub transaction: u64,
    pub dialog: u64,
}

impl Lifetimes {
    /// The life of a session after this message. An established dialog is kept for long, until its BYE; everything
    /// else as long as a transaction can go on.
    pub fn after(&self, facts: &Facts<'_>, scope: Scope, established: bool, now: u64) -> Life {
        let method = facts.method().unwrap_or_default();
        let positive = matches!(facts.status, Some(200..300));
        let established =
            established || (scope == Scope::Dialog && positive && matches!(method, b"INVITE" | b"SUBSCRIBE"));
        let is_final = facts.status.is_some_and(|status| status >= 200);
        let seconds = if established && method != b"BYE" {
            self.dialog
        } else if method == b"INVITE" && !is_final {
            self.transaction.max(RINGING)
        } else {
            self.transaction
        };
        Life { until: now + seconds, established }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    const TIMES: Lifetimes = Lifetimes { transaction: 64, dialog: 10_000 };

    fn after(start: &str, method: &str, scope: Scope, established: bool) -> (u64, bool) {
        let raw = format!("{start}\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n\r\n");
        let life = TIMES.after(
            &Facts::of(&Message { raw: raw.as_bytes(), ..Message::NONE }).unwrap(),
            scope,
            established,
            1_000,
        );
        (life.until - 1_000, life.established)
    }

    #[test]
    fn a_dialog_is_kept_for_long_from_its_200_to_its_bye() {
        let dialog = Scope::Dialog;
        assert_eq!(after("INVITE sip:b@h SIP/2.0", "INVITE", dialog, false), (300, false));
        assert_eq!(after("SIP/2.0 180 Ringing", "INVITE", dialog, false), (300, false));
        assert_eq!(after("SIP/2.0 200 OK", "INVITE", dialog, false), (10_000, true));
        assert_eq!(after("INFO sip:b@h SIP/2.0", "INFO", dialog, true), (10_000, true));
        assert_eq!(after("SIP/2.0 488 No", "INVITE", dialog, true), (10_000, true));
        assert_eq!(after("BYE sip:b@h SIP/2.0", "BYE", dialog, true), (64, true));
        assert_eq!(after("SIP/2.0 200 OK", "BYE", dialog, true), (64, true));
    }

    #[test]
    fn a_call_that_failed_is_kept_for_its_retransmissions_only() {
        for scope in [Scope::Dialog, Scope::Transaction] {
            assert_eq!(after("SIP/2.0 486 Busy", "INVITE", scope, false), (64, false));
            assert_eq!(after("ACK sip:b@h SIP/2.0", "ACK", scope, false), (64, false));
        }
    }

    #[test]
    fn a_transaction_may_ring_and_ends_with_its_reply() {
        let transaction = Scope::Transaction;
        assert_eq!(after("SIP/2.0 180 Ringing", "INVITE", transaction, false), (300, false));
        assert_eq!(after("SIP/2.0 200 OK", "INVITE", transaction, false), (64, false));
        assert_eq!(after("OPTIONS sip:b@h SIP/2.0", "OPTIONS", transaction, false), (64, false));
    }
}
