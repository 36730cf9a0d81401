//! Calls by their Call-IDs.

use std::collections::HashMap;

use futures_util::future::try_join_all;

use super::duplicates::Seen;
use super::filter::Filter;
use super::steps::Steps;
use super::{Search, SearchError};
use crate::call::Call;
use crate::call::message::Message;
use crate::store::{Key, Walk};

/// How many messages of one call are read at most; the newest.
const MAX_CALL_MESSAGES: usize = 10_000;

/// How many octets of payload of one call are read at most; the newest. An ordinary call has some thousands.
const MAX_CALL_BYTES: usize = 8 << 20;

/// What calls that are looked up together come to at most, octets of payload.
const TOGETHER_BYTES: usize = if cfg!(test) { 2000 } else { 2 << 20 };

/// In so many parts calls are looked up at the same time: the embedded store reads each on one thread.
const PARTS: usize = 2;

/// So few calls are not divided.
const FEW: usize = 4;

impl Search {
    /// A call, with all its messages unless there are too many. One of which nothing was found has none.
    pub(super) async fn look_up(&self, call_id: &str) -> Result<Call, SearchError> {
        let walk = Walk { keys: Key::call(call_id).into(), ..Walk::default() };
        let filter = Filter { call_id: Some(call_id.to_owned()), ..Filter::default() };
        let mut steps = Steps::new(self, walk, filter);
        let (mut messages, mut bytes, mut partial) = (Vec::new(), 0, false);
        loop {
            let step = steps.next().await?;
            partial |= step.partial;
            for message in step.slices.into_iter().flat_map(|slice| slice.messages) {
                bytes += message.captured.raw.len();
                messages.push(message);
            }
            if step.next.is_none() {
                return Ok(self.join(call_id, messages, partial));
            }
            if messages.len() >= MAX_CALL_MESSAGES || bytes >= MAX_CALL_BYTES {
                return Ok(self.join(call_id, messages, true));
            }
        }
    }

    /// The same for several calls, each named once; in this order.
    pub(super) async fn look_up_all(&self, call_ids: &[&str]) -> Result<Vec<Call>, SearchError> {
        let each = call_ids.len().div_ceil(PARTS).max(FEW);
        let parts = try_join_all(call_ids.chunks(each).map(|part| self.look_up_part(part))).await?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// A part of them. They are read together as long as they are small.
    async fn look_up_part(&self, call_ids: &[&str]) -> Result<Vec<Call>, SearchError> {
        let mut calls = Vec::with_capacity(call_ids.len());
        let mut rest = vec![call_ids];
        while let Some(call_ids) = rest.pop() {
            match call_ids {
                [] => {}
                [call_id] => calls.push(self.look_up(call_id).await?),
                _ => match self.look_up_together(call_ids).await? {
                    Some(together) => calls.extend(together),
                    None => {
                        let (first, second) = call_ids.split_at(call_ids.len() / 2);
                        rest.extend([second, first]);
                    }
                },
            }
        }
        Ok(calls)
    }

    /// Several calls; `None` where they are too large together.
    async fn look_up_together(&self, call_ids: &[&str]) -> Result<Option<Vec<Call>>, SearchError> {
        let walk = Walk { keys: call_ids.iter().map(|id| Key::call(id)).collect(), ..Walk::default() };
        let mut steps = Steps::new(self, walk, Filter::default());
        let mut of_call: HashMap<&str, Vec<Message>> = call_ids.iter().map(|id| (*id, Vec::new())).collect();
        let (mut bytes, mut partial) = (0, false);
        loop {
            let step = steps.next().await?;
            partial |= step.partial;
            for message in step.slices.into_iter().flat_map(|slice| slice.messages) {
                let wanted = message.sip.call_id.as_deref().and_then(|id| of_call.get_mut(id));
                if let Some(messages) = wanted {
                    bytes += message.captured.raw.len();
                    messages.push(message);
                }
            }
            if step.next.is_none() {
                break;
            }
            if bytes > TOGETHER_BYTES {
                return Ok(None);
            }
        }
        let mut messages_of = |id| of_call.remove(id).unwrap_or_default();
        Ok(Some(call_ids.iter().map(|id| self.join(id, messages_of(*id), partial)).collect()))
    }

    fn join(&self, call_id: &str, mut messages: Vec<Message>, partial: bool) -> Call {
        messages.sort_unstable_by_key(Message::order);
        let mut seen = Seen::default();
        self.leave_out(&mut messages, |m| seen.is_new(m));
        Call { call_id: call_id.to_owned(), messages, events: Vec::new(), partial, listed_us: None }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::call::message::MessageId;
    use crate::call::sample::{call, request};
    use crate::spool::Position;
    use crate::store::slice::Cutter;
    use crate::store::sqlite::SqliteStore;
    use crate::store::{Flush, Store};

    const CALLS: usize = 40;

    /// As many slices of each call.
    const FLUSHES: usize = 9;

    fn call_id(number: usize) -> String {
        format!("{number}@host")
    }

    fn message(of: usize, flush: usize) -> Message {
        let mut captured = call(&[request(0, "OPTIONS")]).messages.remove(0).captured;
        let call_id = call_id(of);
        // The last of them is a copy of the one before.
        let at = flush.min(FLUSHES - 2);
        captured.captured_at_us += (at * CALLS + of) as i64;
        captured.agent_id += at as u32;
        captured.raw = format!("OPTIONS sip:b@h SIP/2.0\r\nCall-ID: {call_id}\r\nCSeq: {at} OPTIONS\r\n\r\n")
            .into_bytes()
            .into();
        Message::read(MessageId::default(), captured)
    }

    #[tokio::test]
    async fn calls_that_are_looked_up_together_are_what_each_is_by_itself() {
        let files = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(files.path(), "lookup").await.expect("a store");
        for flush in 0..FLUSHES {
            let messages = (0..CALLS).map(|of| message(of, flush)).collect();
            let packs = Cutter::default().cut(messages).expect("packs");
            let end = Position { segment: 1, offset: flush as u64 };
            store.write(&Flush { packs, end }).await.expect("written");
        }
        let search = Search::new(Arc::new(store), Arc::default());
        let mut call_ids: Vec<_> = (0..CALLS).rev().map(call_id).collect();
        call_ids.insert(7, "nobody@host".into());
        let call_ids: Vec<_> = call_ids.iter().map(String::as_str).collect();
        let few = &call_ids[..10];
        assert!(search.look_up_together(&call_ids).await.expect("read").is_none(), "they are too large");
        assert!(search.look_up_together(few).await.expect("read").is_some(), "these are not");

        let together = search.look_up_all(&call_ids).await.expect("found");
        assert_eq!(together.len(), call_ids.len());
        for (call_id, found) in call_ids.iter().zip(together) {
            let alone = search.look_up(call_id).await.expect("found");
            assert_eq!((&found.call_id, found.partial), (&alone.call_id, false));
            assert_eq!(found.messages, alone.messages, "{call_id}");
            assert_eq!(found.messages.len(), if *call_id == "nobody@host" { 0 } else { FLUSHES - 1 });
        }
        assert!(search.look_up_all(&[]).await.expect("nothing").is_empty());
    }
}
