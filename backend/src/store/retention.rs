//! What is kept, and for how long: what is older than wanted goes, and the oldest where there is too much or the disk
//! is nearly full. It goes in the pieces that a store keeps it in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::rule::{self, Bounds, Rule};
use super::{Class, Store, StoreError};
use crate::telemetry::{Metrics, clock};

/// How often it is looked for what may go.
const INTERVAL: Duration = Duration::from_secs(30);

/// What is kept. The fields beside `rules` and `free_bytes` are the bounds of the rule `default`, which takes what no
/// other rule does.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Retention {
    /// For so long, µs; for ever where `None`.
    pub age_us: Option<i64>,
    /// So many octets; without a bound where `None`.
    pub bytes: Option<u64>,
    /// So many octets of the disk stay free, whatever the rules say.
    pub free_bytes: u64,
    /// The first of these that takes a slice is its rule.
    pub rules: Arc<[Rule]>,
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
    /// Name of the rule that it was kept under.
    pub rule: Arc<str>,
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
    /// Octets under each rule that has some, what goes included, by name; empty where a store does not know them.
    pub rules: Vec<(Arc<str>, u64)>,
    /// Octets of the disk that are free; `None` where the store is elsewhere.
    pub disk_free_bytes: Option<u64>,
    /// How many files of the store are damaged, those set aside included.
    pub damaged: u64,
}

/// A piece that a store lets go of as a whole.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub name: String,
    /// Name of the rule that its slices were made under.
    pub rule: Arc<str>,
    pub newest_us: Option<i64>,
    pub bytes: u64,
    /// It is written to, or holds what is needed otherwise, and cannot go now.
    pub stays: bool,
}

impl Piece {
    /// Pieces that go together, as one under the name of the first.
    pub fn together(pieces: &[Self]) -> Option<Self> {
        let first = pieces.first()?;
        Some(Self {
            newest_us: pieces.iter().filter_map(|piece| piece.newest_us).max(),
            bytes: pieces.iter().map(|piece| piece.bytes).sum(),
            stays: pieces.iter().any(|piece| piece.stays),
            ..first.clone()
        })
    }

    /// It, as what goes.
    pub fn expired(&self, reason: Reason) -> Expired {
        let Self { name, rule, newest_us, bytes, .. } = self.clone();
        Expired { name, rule, newest_us, bytes, reason }
    }
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
    /// The name of the rule that takes a slice of this class and tenant.
    #[must_use]
    pub fn rule_of(&self, class: Class, tenant: Option<&str>) -> Arc<str> {
        let rule = self.rules.iter().find(|rule| rule.takes(class, tenant));
        rule.map_or_else(rule::default_name, |rule| Arc::clone(&rule.name))
    }

    /// What is kept under the rule of this name. One that is no longer there counts as `default`.
    #[must_use]
    pub fn bounds(&self, rule: &str) -> Bounds {
        let found = self.rules.iter().find(|known| &*known.name == rule);
        found.map_or(Bounds { age_us: self.age_us, bytes: self.bytes }, |rule| rule.bounds)
    }

    /// Messages under this rule that were captured before this are too old, µs since the epoch.
    #[must_use]
    pub fn cutoff_us(&self, rule: &str, now_us: i64) -> Option<i64> {
        Some(now_us.saturating_sub(self.bounds(rule).age_us?))
    }

    /// Under which name a rule's octets are counted: its own, or that of the default rule.
    fn counted_as(&self, rule: &Arc<str>) -> Arc<str> {
        let known = self.rules.iter().any(|known| known.name == *rule);
        if known { Arc::clone(rule) } else { rule::default_name() }
    }

    /// Which of these pieces, oldest first, may go: those too old, then the oldest of each rule that has too much, then
    /// the oldest of all while the disk is nearly full.
    pub(super) fn plan(&self, pieces: Vec<Piece>, disk_free_bytes: Option<u64>, now_us: i64) -> Plan {
        let mut rules: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for piece in &pieces {
            *rules.entry(self.counted_as(&piece.rule)).or_default() += piece.bytes;
        }
        let mut reasons = vec![None; pieces.len()];
        let (mut left, mut free_bytes) = (rules.clone(), disk_free_bytes);
        for reason in [Reason::Age, Reason::Size, Reason::Disk] {
            let may_go = |(piece, gone): &(&Piece, &mut Option<Reason>)| gone.is_none() && !piece.stays;
            for (piece, gone) in pieces.iter().zip(&mut reasons).filter(may_go) {
                let left_bytes = left.entry(self.counted_as(&piece.rule)).or_default();
                let goes = match reason {
                    Reason::Age => {
                        let cutoff_us = self.cutoff_us(&piece.rule, now_us);
                        cutoff_us.is_some_and(|cutoff| piece.newest_us.is_none_or(|us| us < cutoff))
                    }
                    Reason::Size => self.bounds(&piece.rule).bytes.is_some_and(|most| *left_bytes > most),
                    Reason::Disk => free_bytes.is_some_and(|free| free < self.free_bytes),
                };
                if goes {
                    *left_bytes -= piece.bytes;
                    free_bytes = free_bytes.map(|free| free.saturating_add(piece.bytes));
                    *gone = Some(reason);
                }
            }
        }
        let expired = pieces.iter().zip(reasons).filter_map(|(piece, reason)| Some(piece.expired(reason?)));
        let store_bytes = rules.values().sum();
        Plan {
            expired: expired.collect(),
            store_bytes,
            rules: rules.into_iter().collect(),
            disk_free_bytes,
            damaged: 0,
        }
    }
}

/// Lets go of what may go, again and again until stopped.
pub async fn run(
    store: Arc<dyn Store>,
    retention: Arc<Retention>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let mut last = String::new();
    loop {
        match store.retain(&retention, clock::now_us()).await {
            Ok(plan) => {
                last.clear();
                for expired in &plan.expired {
                    let Expired { name, rule, bytes, reason, .. } = expired;
                    tracing::info!(
                        name,
                        rule = &**rule,
                        bytes,
                        reason = reason.as_str(),
                        "a part of the store is gone"
                    );
                }
                metrics.retained(&plan, retention.free_bytes);
            }
            Err(error) => {
                let error = error.to_string();
                if error != last {
                    tracing::error!(error, "what is too old cannot be let go of; it is tried again");
                    last = error;
                }
            }
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
    use crate::store::rule::DEFAULT_RULE;

    const NOW_US: i64 = 1_000_000_000;

    /// A piece of 100 octets whose youngest message is so old.
    fn piece(name: &str, rule: &str, seconds: i64) -> Piece {
        Piece {
            name: name.to_owned(),
            rule: rule.into(),
            newest_us: Some(NOW_US - seconds * 1_000_000),
            bytes: 100,
            stays: false,
        }
    }

    fn planned(retention: &Retention, pieces: Vec<Piece>, free: Option<u64>) -> Vec<(String, Reason)> {
        let plan = retention.plan(pieces, free, NOW_US);
        plan.expired.into_iter().map(|expired| (expired.name, expired.reason)).collect()
    }

    fn names(retention: Retention, disk_free_bytes: Option<u64>) -> Vec<(String, Reason)> {
        // Each is 10 s younger than the one before; the last is 5 s old, and one is written to.
        let mut pieces: Vec<_> =
            (0..10).map(|n| piece(&n.to_string(), DEFAULT_RULE, 5 + (9 - n) * 10)).collect();
        pieces.push(Piece { bytes: 50, stays: true, ..piece("written", DEFAULT_RULE, 100) });
        assert_eq!(retention.plan(pieces.clone(), None, NOW_US).store_bytes, 1050);
        planned(&retention, pieces, disk_free_bytes)
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
        assert_eq!(names(Retention { bytes: Some(0), ..Retention::default() }, None).len(), 10);
    }

    #[test]
    fn of_a_disk_that_is_nearly_full_so_much_goes_as_is_wanted_free() {
        let retention = || Retention { free_bytes: 300, ..Retention::default() };
        assert!(names(retention(), Some(300)).is_empty());
        assert_eq!(names(retention(), Some(150)), expected(&[("0", Reason::Disk), ("1", Reason::Disk)]));
        assert!(names(retention(), None).is_empty(), "a store elsewhere");
        let both = Retention { age_us: Some(90_000_000), ..retention() };
        assert_eq!(names(both, Some(150)), expected(&[("0", Reason::Age), ("1", Reason::Disk)]));
    }

    fn rule(name: &str, classes: &[Class], tenants: &[&str], age_s: i64, bytes: u64) -> Rule {
        Rule {
            name: name.into(),
            classes: classes.to_vec(),
            tenants: tenants.iter().map(|tenant| (*tenant).into()).collect(),
            bounds: Bounds {
                age_us: Some(age_s * 1_000_000).filter(|us| *us > 0),
                bytes: Some(bytes).filter(|bytes| *bytes > 0),
            },
        }
    }

    #[test]
    fn the_first_rule_that_takes_a_slice_is_its_own() {
        let rules = [
            rule("acme's events", &[Class::Event], &["acme"], 0, 0),
            rule("pings", &[Class::Options, Class::Registration], &[], 0, 0),
            rule("of two", &[], &["acme", "bell"], 0, 0),
        ];
        let retention = Retention { rules: rules.into(), ..Retention::default() };
        for (class, tenant, name) in [
            (Class::Event, Some("acme"), "acme's events"),
            (Class::Event, Some("bell"), "of two"),
            (Class::Event, None, "default"),
            (Class::Options, None, "pings"),
            (Class::Registration, Some("acme"), "pings"),
            (Class::Call, Some("acme"), "of two"),
            (Class::Call, Some("other"), "default"),
            (Class::Call, None, "default"),
        ] {
            assert_eq!(&*retention.rule_of(class, tenant), name, "{class:?} {tenant:?}");
        }
    }

    #[test]
    fn each_rule_has_bounds_of_its_own_and_one_that_is_gone_those_of_the_default() {
        let rules = [rule("pings", &[], &[], 20, 0), rule("small", &[], &[], 0, 150)];
        let retention = Retention { age_us: Some(60_000_000), rules: rules.into(), ..Retention::default() };
        let pieces = vec![
            piece("a", "default", 70),
            piece("b", "small", 65),
            piece("c", "no longer there", 64),
            piece("d", "pings", 50),
            piece("e", "default", 40),
            Piece { stays: true, ..piece("f", "pings", 30) },
            piece("g", "small", 25),
            piece("h", "pings", 10),
        ];
        let all = retention.plan(pieces.clone(), None, NOW_US);
        let counted: Vec<_> = all.rules.iter().map(|(name, bytes)| (&**name, *bytes)).collect();
        assert_eq!(counted, [("default", 300), ("pings", 300), ("small", 200)]);
        let by_rules = [("a", Reason::Age), ("b", Reason::Size), ("c", Reason::Age), ("d", Reason::Age)];
        assert_eq!(planned(&retention, pieces.clone(), None), expected(&by_rules));
        // The disk's guard takes the oldest of what is left, whatever its rule; what goes anyhow counts first.
        let guarded = Retention { free_bytes: 600, ..retention };
        let with_disk = [&by_rules[..], &[("e", Reason::Disk), ("g", Reason::Disk)]].concat();
        assert_eq!(planned(&guarded, pieces.clone(), Some(0)), expected(&with_disk));
        assert_eq!(planned(&guarded, pieces, Some(200)), expected(&by_rules));
    }
}
