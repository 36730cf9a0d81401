//! What is kept, and for how long: what is older than wanted goes, and the oldest where there is too much or the disk
//! is nearly full. It goes in the pieces that a store keeps it in.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Store, StoreError};
use crate::telemetry::{Metrics, clock};

/// How often it is looked for what may go.
const INTERVAL: Duration = Duration::from_secs(30);

/// What is kept.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Retention {
    /// For so long, µs; for ever where `None`.
    pub age_us: Option<i64>,
    /// So many octets; without a bound where `None`.
    pub bytes: Option<u64>,
    /// So many octets of the disk stay free.
    pub free_bytes: u64,
}

/// Why something goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// It is too old.
    Age,
    /// The disk is nearly full.
    Disk,
    /// There is too much.
    Size,
}

/// A piece of the store that goes, or would.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Expired {
    /// Its name: a file, or a table's rows.
    pub name: String,
    /// Its youngest message, µs since the epoch; `None` where it has none.
    pub newest_us: Option<i64>,
    /// Its octets on disk.
    pub bytes: u64,
    /// Why.
    pub reason: Reason,
}

/// How much there is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    /// What goes, oldest first.
    pub expired: Vec<Expired>,
    /// Octets of the store, what goes included.
    pub store_bytes: u64,
    /// Octets of the disk that are free; `None` where the store is elsewhere.
    pub disk_free_bytes: Option<u64>,
}

/// A piece that a store can let go of.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub name: String,
    pub newest_us: Option<i64>,
    pub bytes: u64,
}

impl Reason {
    /// In a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Disk => "disk",
            Self::Size => "size",
        }
    }
}

impl Retention {
    /// Messages captured before this are too old, µs since the epoch.
    #[must_use]
    pub fn cutoff_us(&self, now_us: i64) -> Option<i64> {
        Some(now_us.saturating_sub(self.age_us?))
    }

    /// Which of these pieces, oldest first, may go. `kept_bytes` are those of the store that can not.
    pub(super) fn plan(
        &self,
        pieces: Vec<Piece>,
        kept_bytes: u64,
        disk_free_bytes: Option<u64>,
        now_us: i64,
    ) -> Plan {
        let store_bytes = kept_bytes + pieces.iter().map(|piece| piece.bytes).sum::<u64>();
        let (mut left_bytes, mut free_bytes) = (store_bytes, disk_free_bytes);
        let mut expired = Vec::new();
        for piece in pieces {
            let too_old =
                self.cutoff_us(now_us).is_some_and(|cutoff| piece.newest_us.is_none_or(|us| us < cutoff));
            let reason = if too_old {
                Reason::Age
            } else if self.bytes.is_some_and(|most| left_bytes > most) {
                Reason::Size
            } else if free_bytes.is_some_and(|free| free < self.free_bytes) {
                Reason::Disk
            } else {
                continue;
            };
            left_bytes -= piece.bytes;
            free_bytes = free_bytes.map(|free| free.saturating_add(piece.bytes));
            let Piece { name, newest_us, bytes } = piece;
            expired.push(Expired { name, newest_us, bytes, reason });
        }
        Plan { expired, store_bytes, disk_free_bytes }
    }
}

/// Lets go of what may go, again and again until stopped.
pub async fn run(
    store: Arc<dyn Store>,
    retention: Retention,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    loop {
        match store.retain(&retention, clock::now_us()).await {
            Ok(plan) => {
                for expired in &plan.expired {
                    let Expired { name, bytes, reason, .. } = expired;
                    tracing::info!(name, bytes, reason = reason.as_str(), "a part of the store is gone");
                }
                metrics.retained(&plan, retention.free_bytes);
            }
            Err(error) => tracing::error!(%error, "what is too old cannot be let go of"),
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// What a store would let go of now, and nothing of it gone.
///
/// # Errors
/// When the store cannot be read.
pub async fn plan(store: &dyn Store, retention: &Retention) -> Result<Plan, StoreError> {
    store.plan(retention, clock::now_us()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_US: i64 = 1_000_000_000;

    fn names(retention: Retention, disk_free_bytes: Option<u64>) -> Vec<(String, Reason)> {
        // Ten pieces of 100 octets, each 10 s younger than the one before; the last is 5 s old.
        let piece = |n: i64| Piece {
            name: n.to_string(),
            newest_us: Some(NOW_US - 5_000_000 - (9 - n) * 10_000_000),
            bytes: 100,
        };
        let plan = retention.plan((0..10).map(piece).collect(), 50, disk_free_bytes, NOW_US);
        assert_eq!(plan.store_bytes, 1050);
        plan.expired.into_iter().map(|expired| (expired.name, expired.reason)).collect()
    }

    fn expected(names: &[(&str, Reason)]) -> Vec<(String, Reason)> {
        names.iter().map(|(name, reason)| ((*name).to_owned(), *reason)).collect()
    }

    #[test]
    fn without_bounds_everything_stays() {
        assert!(names(Retention::default(), Some(0)).is_empty());
    }

    #[test]
    fn what_is_too_old_goes() {
        let retention = Retention { age_us: Some(80_000_000), ..Retention::default() };
        assert_eq!(names(retention, None), expected(&[("0", Reason::Age), ("1", Reason::Age)]));
    }

    #[test]
    fn of_too_much_the_oldest_goes() {
        let retention = Retention { bytes: Some(850), ..Retention::default() };
        assert_eq!(names(retention, None), expected(&[("0", Reason::Size), ("1", Reason::Size)]));
        // What cannot go counts too.
        assert_eq!(names(Retention { bytes: Some(0), ..retention }, None).len(), 10);
    }

    #[test]
    fn of_a_disk_that_is_nearly_full_so_much_goes_as_is_wanted_free() {
        let retention = Retention { free_bytes: 300, ..Retention::default() };
        assert!(names(retention, Some(300)).is_empty());
        assert_eq!(names(retention, Some(150)), expected(&[("0", Reason::Disk), ("1", Reason::Disk)]));
        assert!(names(retention, None).is_empty(), "a store elsewhere");
        let both = Retention { age_us: Some(90_000_000), ..retention };
        assert_eq!(names(both, Some(150)), expected(&[("0", Reason::Age), ("1", Reason::Disk)]));
    }
}
