//! When segments are merged.

/// So many segments of one level make one of the next.
const FAN_IN: usize = 10;

/// A live segment of a bucket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Segment {
    /// Its number: greater than those that were there before it.
    pub number: i64,
    /// How often its postings have been merged; 0 as a flush brings it.
    pub level: u8,
}

/// The segments that should be made into one of the level given, if any. With ten to one each posting is written again
/// at most once for each level, and an hour of a flush a second comes to some thirty segments.
#[must_use]
pub fn due(live: &[Segment]) -> Option<(Vec<Segment>, u8)> {
    let highest = live.iter().map(|s| s.level).max()?;
    // What is due on a higher level takes what waits below it along, which saves writing that twice.
    let level =
        (0..=highest).rev().find(|level| live.iter().filter(|s| s.level == *level).count() >= FAN_IN)?;
    let merged = live.iter().copied().filter(|s| s.level <= level).collect();
    Some((merged, level.saturating_add(1)))
}
