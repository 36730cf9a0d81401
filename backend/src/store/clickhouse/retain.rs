//! What is too old, or too much, goes by partition: a retention rule's slices of one day of arrival, on all shards.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::rows::Rows;
use super::shard::Shard;
use crate::store::retention::Piece;
use crate::store::{Plan, Retention, StoreError};

const DAY_US: i64 = 86_400_000_000;

const PARTITIONS: &str = "select partition, toUInt64(sum(bytes_on_disk)) from system.parts
    where database = currentDatabase() and table in ('pack', 'slice_key') and active
    group by partition format RowBinary";

/// An old server does not have this table, and then nothing is known of its disks.
const DISKS: &str = "select toUInt64(min(free_space)) from system.disks format RowBinary";

/// What may go now. A day goes as a whole, once its last message would have come too long ago.
pub async fn plan(shards: &[Shard], retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
    let mut bytes: BTreeMap<(i64, String, String), u64> = BTreeMap::new();
    let mut last = None;
    let answers = join_all(shards.iter().map(|shard| shard.ask(PARTITIONS))).await;
    let mut reached = 0;
    for answer in answers {
        let mut rows = match answer {
            Ok(answer) => Rows::new(answer),
            Err(failure) => {
                last = Some(failure);
                continue;
            }
        };
        reached += 1;
        while !rows.is_empty() {
            let (partition, of_partition) = (rows.text()?, rows.u64()?);
            match rule_and_day(&partition) {
                Some((rule, day)) => *bytes.entry((day, partition, rule)).or_default() += of_partition,
                None => tracing::warn!(partition, "a partition that is none of ours is left as it is"),
            }
        }
    }
    if let Some(failure) = last.filter(|_| reached == 0) {
        return Err(failure.into());
    }
    let pieces = bytes
        .into_iter()
        .map(|((day, name, rule), bytes)| {
            let ended_us = day.saturating_add(1).saturating_mul(DAY_US).saturating_sub(1);
            // What comes in now goes into the last day.
            let stays = ended_us >= now_us;
            Piece { name, rule: rule.into(), newest_us: Some(ended_us.min(now_us)), bytes, stays }
        })
        .collect();
    Ok(retention.plan(pieces, disk_free_bytes(shards).await, now_us))
}

/// Lets go of it. Two backends that do so at once do it once: a partition that is gone can be dropped again.
pub async fn retain(shards: &[Shard], retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
    let plan = plan(shards, retention, now_us).await?;
    for expired in &plan.expired {
        // First what is found: a search that has a key still finds its slice, or nothing.
        for table in ["slice_key", "pack"] {
            let sql = format!("alter table {table} drop partition {}", expired.name);
            for dropped in join_all(shards.iter().map(|shard| shard.ask(&sql))).await {
                // A shard that is away lets go of it when it is back: its partition will be seen then.
                if let Err(failure) = dropped {
                    tracing::warn!(%failure, partition = expired.name, "a partition was not dropped");
                }
            }
        }
    }
    Ok(plan)
}

/// What is free on the fullest disk of all shards that say so.
async fn disk_free_bytes(shards: &[Shard]) -> Option<u64> {
    let answers = join_all(shards.iter().map(|shard| shard.ask(DISKS))).await;
    answers.into_iter().filter_map(|answer| Rows::new(answer.ok()?).u64().ok()).min()
}

/// The rule and the day of a partition, such as `('default',20643)`; the day in days since the epoch.
fn rule_and_day(partition: &str) -> Option<(String, i64)> {
    let (rule, day) = partition.strip_prefix("('")?.strip_suffix(')')?.rsplit_once("',")?;
    Some((rule.to_owned(), day.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_and_day_of_a_partition_are_read_and_of_a_foreign_one_are_not() {
        assert_eq!(rule_and_day("('default',20643)"), Some(("default".into(), 20_643)));
        assert_eq!(rule_and_day("('a-b', 7)"), Some(("a-b".into(), 7)));
        for foreign in ["tuple()", "20643", "('x')", "", "('x',)", "(1,2)"] {
            assert_eq!(rule_and_day(foreign), None, "{foreign}");
        }
    }
}
