//! Letting go of what is too old, or too much: whole sets of buckets, since only in a set as a whole each call has a
//! [first slice](crate::store::firsts).

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::{Inner, bucket, file};
use crate::store::retention::{Expired, Piece};
use crate::store::{Plan, Retention, StoreError};

impl Inner {
    pub(super) async fn plan(&self, retention: &Retention, now_us: i64) -> Plan {
        // What is written stays, and so does the newest, so that something is left.
        let written: Vec<u32> = self.current.lock().await.sets.values().map(|set| set.number).collect();
        let buckets = self.buckets();
        let newest = buckets.last().map(|bucket| bucket.set());
        let stays = |set| written.contains(&set) || newest == Some(set);
        let mut sets: BTreeMap<u32, Vec<Piece>> = BTreeMap::new();
        for bucket in &buckets {
            sets.entry(bucket.set()).or_default().push(bucket.piece(now_us, stays(bucket.set())));
        }
        let mut pieces: Vec<_> = sets.values().filter_map(|set| Piece::together(set)).collect();
        pieces.extend(self.set_aside.pieces());
        pieces.sort_by_key(|piece| piece.newest_us);
        let reported = buckets.iter().filter(|bucket| bucket.is_reported()).count();
        let mut plan = retention.plan(pieces, self.disk_free_bytes(), now_us);
        let apart = |expired: Expired| {
            let is_of = |set: &&Vec<Piece>| set.first().is_some_and(|first| first.name == expired.name);
            let Some(set) = sets.values().find(is_of) else { return vec![expired] };
            set.iter().map(|piece| piece.expired(expired.reason)).collect()
        };
        plan.expired = plan.expired.into_iter().flat_map(apart).collect();
        plan.store_bytes += file::bytes(&self.ledger.files());
        plan.damaged = (reported + self.set_aside.count()) as u64;
        plan
    }

    pub(super) async fn retain(&self, retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
        let mut plan = self.plan(retention, now_us).await;
        let mut gone = Vec::new();
        for expired in std::mem::take(&mut plan.expired) {
            let bucket = bucket::number_of(&expired.name).and_then(|number| {
                self.buckets.write().unwrap_or_else(PoisonError::into_inner).remove(&number)
            });
            match bucket {
                Some(bucket) => {
                    bucket.remove().await?;
                    self.readers.forget(bucket.number());
                }
                None if self.set_aside.remove(&expired.name)? => {}
                None => continue,
            }
            gone.push(expired);
        }
        Ok(Plan { expired: gone, ..plan })
    }
}
