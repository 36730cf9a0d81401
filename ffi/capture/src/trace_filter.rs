//! Trace filters: "capture this caller's calls for the next ten minutes", said to a proxy that runs.
//!
//! A message that matches opens a dialog session, as a call in the script with mode `d` does: so the whole call is
//! captured on both legs. Filters lie as text in shared memory, each with the second in which it ends. A worker looks
//! at one word to know whether there are any, and reads them anew when that word has changed.

mod rule;
mod table;

use std::cell::LazyCell;

use thiserror::Error;

use crate::claim::Claim;
use crate::config::Config;
use crate::message::Message;
use crate::sessions::{Facts, MAX_SESSION_ID_BYTES};
use crate::shared::Shared;

pub use rule::RuleError;
use rule::{Parties, Rule};
use table::Entry;
pub(crate) use table::Table;

/// A trace filter that is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceFilter {
    /// By which it is removed; never used twice.
    pub number: u64,
    /// What was asked for, without the duration: `caller=alice method=INVITE`.
    pub text: String,
    /// Seconds until it ends.
    pub seconds_left: u64,
    /// Messages that matched and were not followed already: the first of each call.
    pub matches: u64,
}

/// Why trace filters stay as they are.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FilterError {
    /// Another process is changing them at this moment.
    #[error("another command is changing the filters; try again")]
    Busy,
    /// As many as the parameter allows are active.
    #[error("{0} filters are active, as many as the parameter trace_filters allows; remove one")]
    Full(usize),
    /// Neither the filter nor the configuration names a collector.
    #[error("no collector: add collector=…, or set the parameter duplicate_uri")]
    NoCollector,
    /// The parameter `trace_filters` is 0.
    #[error("the parameter trace_filters is 0")]
    Off,
    /// What was asked for cannot be understood.
    #[error("{0}")]
    Rule(RuleError),
    /// Sixteen other collectors are in use.
    #[error("more than 16 different collectors")]
    TooManyCollectors,
}

impl Shared {
    /// Adds a filter; answers its number.
    ///
    /// Each word is `name=value`: at least one of `caller`, `callee`, `ip` and `call_id`, all of which must match; then
    /// `method`, `id`, `collector` and `duration` (seconds).
    ///
    /// # Errors
    /// [`FilterError`]; then nothing has changed.
    pub fn add_trace_filter<'w>(
        &self,
        words: impl IntoIterator<Item = &'w [u8]>,
        config: &Config,
    ) -> Result<u64, FilterError> {
        let (rule, text, duration) = Rule::parse(words).map_err(FilterError::Rule)?;
        let table = self.filter_table();
        if table.room() == 0 {
            return Err(FilterError::Off);
        }
        let collector = rule.collector.as_deref().or(config.collector.as_deref().map(str::as_bytes));
        let collector = collector.ok_or(FilterError::NoCollector)?;
        let now = self.seconds();
        let _claim = Claim::take(self.filters_claim(), now).ok_or(FilterError::Busy)?;
        let free = table.free(now).ok_or(FilterError::Full(table.room()))?;
        let slot = self.collector_slot(collector).ok_or(FilterError::TooManyCollectors)?;
        let number = self.next_filter_number();
        table.write(free, &Entry { number, until: now + u64::from(duration), slot, text });
        self.publish_filters(true);
        Ok(number)
    }

    /// Removes the filter with this number; `false` if there is none. Calls that it has found are followed on.
    ///
    /// # Errors
    /// [`FilterError::Busy`].
    pub fn remove_trace_filter(&self, number: u64) -> Result<bool, FilterError> {
        self.remove_trace_filters(|entry| entry.number == number).map(|removed| removed > 0)
    }

    /// Removes all filters; answers how many there were.
    ///
    /// # Errors
    /// [`FilterError::Busy`].
    pub fn clear_trace_filters(&self) -> Result<usize, FilterError> {
        self.remove_trace_filters(|_| true)
    }

    fn remove_trace_filters(&self, unwanted: impl Fn(&Entry) -> bool) -> Result<usize, FilterError> {
        let now = self.seconds();
        let _claim = Claim::take(self.filters_claim(), now).ok_or(FilterError::Busy)?;
        let table = self.filter_table();
        let (removed, kept): (Vec<_>, Vec<_>) = table.active(now).partition(|(_, entry)| unwanted(entry));
        removed.iter().for_each(|(index, _)| table.remove(*index));
        if !removed.is_empty() {
            self.publish_filters(!kept.is_empty());
        }
        Ok(removed.len())
    }

    /// The filters that are active, by number.
    #[must_use]
    pub fn trace_filters(&self) -> Vec<TraceFilter> {
        let (table, now) = (self.filter_table(), self.seconds());
        let mut filters: Vec<_> = table
            .active(now)
            .map(|(index, entry)| TraceFilter {
                number: entry.number,
                text: String::from_utf8_lossy(&entry.text).into_owned(),
                seconds_left: entry.until.saturating_sub(now),
                matches: table.matches(index),
            })
            .collect();
        filters.sort_by_key(|filter| filter.number);
        filters
    }
}

/// What one process knows of the filters.
#[derive(Debug)]
pub(crate) struct Filters {
    table: Table,
    /// Of the set that `active` was read from.
    serial: u64,
    active: Vec<Active>,
}

#[derive(Debug)]
struct Active {
    index: usize,
    number: u64,
    until: u64,
    slot: u8,
    rule: Rule,
}

/// Where a call goes that matches, and under which id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Match {
    pub collector: u8,
    id: [u8; MAX_SESSION_ID_BYTES],
    id_len: usize,
}

impl Match {
    /// The correlation id; `None` leaves it to the header, or to the Call-ID.
    pub fn id(&self) -> Option<&[u8]> {
        self.id.get(..self.id_len).filter(|id| !id.is_empty())
    }
}

impl Filters {
    pub fn new(shared: Shared) -> Self {
        Self { table: shared.filter_table(), serial: 0, active: Vec::new() }
    }

    /// The first filter that a message matches. `serial` is that of the present set, and not 0.
    #[inline(never)]
    pub fn find(
        &mut self,
        shared: Shared,
        serial: u64,
        message: &Message<'_>,
        facts: &Facts<'_>,
    ) -> Option<Match> {
        let now = shared.seconds();
        if self.serial != serial {
            self.read(serial, now);
        }
        let mut live = self.active.iter().filter(|active| now < active.until).peekable();
        if live.peek().is_none() {
            shared.retire_filters(serial);
            return None;
        }
        // Read once for all filters, and only if one of them asks.
        let parties = LazyCell::new(|| Parties::of(&facts.message));
        let found = live.find(|active| active.rule.matches(message, facts, || *parties))?;
        self.table.count_match(found.index, found.number);
        let id = found.rule.id.as_deref().unwrap_or_default();
        let mut copy = Match { collector: found.slot, id: [0; MAX_SESSION_ID_BYTES], id_len: id.len() };
        copy.id.iter_mut().zip(id).for_each(|(to, from)| *to = *from);
        Some(copy)
    }

    /// Reads the filters; that takes memory, but only when somebody has changed them.
    #[cold]
    fn read(&mut self, serial: u64, now: u64) {
        self.serial = serial;
        self.active.clear();
        for (index, Entry { number, until, slot, text }) in self.table.active(now) {
            let words = text.split(|&octet| octet == b' ');
            if let Ok((rule, ..)) = Rule::parse(words) {
                self.active.push(Active { index, number, until, slot, rule });
            }
        }
        // The oldest first, wherever they lie.
        self.active.sort_by_key(|active| active.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::layout::Layout;
    use crate::{Settings, Transport};

    fn shared(filters: u32) -> Shared {
        let layout = Layout::new(1, 128).with_filters(filters);
        let words = (0..layout.words().unwrap()).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak();
        Shared::new(words, layout, true).unwrap()
    }

    fn config() -> Config {
        let duplicate_uri = "udp:127.0.0.1:9060".to_owned();
        Config::check(Settings { duplicate_uri, ..Settings::default() }).unwrap()
    }

    fn add(shared: Shared, text: &str) -> Result<u64, FilterError> {
        shared.add_trace_filter(text.split(' ').map(str::as_bytes), &config())
    }

    fn find(filters: &mut Filters, shared: Shared, from: &str) -> Option<Match> {
        let raw =
            format!("INVITE sip:b@h SIP/2.0\r\nFrom: <sip:{from}>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n");
        let message = Message {
            raw: raw.as_bytes(),
            source: None,
            destination: None,
            transport: Transport::Udp,
            captured_at: crate::now(),
            inner_call_id: None,
        };
        let serial = shared.filters_serial();
        if serial == 0 {
            return None;
        }
        filters.find(shared, serial, &message, &Facts::of(&message).unwrap())
    }

    #[test]
    fn a_filter_is_known_to_a_process_from_the_next_message_on_until_it_is_removed() {
        let shared = shared(4);
        let mut filters = Filters::new(shared);
        assert!(!shared.is_watching());
        let number = add(shared, "caller=alice id=case-7").unwrap();
        assert!(shared.is_watching());
        assert_eq!(find(&mut filters, shared, "alice@h").unwrap().id(), Some(&b"case-7"[..]));
        assert!(find(&mut filters, shared, "bob@h").is_none());
        let listed = shared.trace_filters();
        assert_eq!((listed.len(), listed[0].number, listed[0].matches), (1, number, 1));
        assert_eq!(listed[0].text, "caller=alice id=case-7");
        assert!(matches!(listed[0].seconds_left, 595..=600), "{listed:?}");

        assert_eq!(shared.remove_trace_filter(number + 1), Ok(false));
        assert_eq!(shared.remove_trace_filter(number), Ok(true));
        assert!(find(&mut filters, shared, "alice@h").is_none());
        assert!(!shared.is_watching() && shared.was_filtering());
    }

    #[test]
    fn the_oldest_filter_that_matches_decides() {
        let shared = shared(4);
        let mut filters = Filters::new(shared);
        let first = add(shared, "caller=nobody").unwrap();
        add(shared, "caller=alice id=older").unwrap();
        shared.remove_trace_filter(first).unwrap();
        add(shared, "caller=alice id=newer").unwrap();
        assert_eq!(find(&mut filters, shared, "alice@h").unwrap().id(), Some(&b"older"[..]));
        assert_eq!(shared.clear_trace_filters(), Ok(2));
        assert_eq!(shared.trace_filters(), []);
    }

    #[test]
    fn when_the_last_filter_has_expired_nobody_looks_any_more() {
        let shared = shared(4);
        let mut filters = Filters::new(shared);
        add(shared, "caller=alice duration=1").unwrap();
        assert!(find(&mut filters, shared, "alice@h").is_some());
        let start = std::time::Instant::now();
        while find(&mut filters, shared, "alice@h").is_some() {
            assert!(start.elapsed().as_secs() < 5);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(!shared.is_watching());
        assert_eq!(shared.trace_filters(), []);
        add(shared, "caller=alice").unwrap();
        assert!(find(&mut filters, shared, "alice@h").is_some());
    }

    #[test]
    fn more_than_there_is_room_for_are_refused_and_so_is_what_nobody_can_follow() {
        let room = shared(2);
        add(room, "caller=a").unwrap();
        add(room, "caller=b").unwrap();
        assert_eq!(add(room, "caller=c"), Err(FilterError::Full(2)));
        assert_eq!(add(shared(0), "caller=a"), Err(FilterError::Off));
        let none = Config::check(Settings::default()).unwrap();
        let words = [&b"caller=a"[..]];
        assert_eq!(shared(1).add_trace_filter(words, &none), Err(FilterError::NoCollector));
        assert!(matches!(add(shared(1), "duration=5"), Err(FilterError::Rule(_))));
    }

    #[test]
    fn commands_at_once_never_lose_a_filter_or_mix_two() {
        let shared = shared(64);
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                std::thread::spawn(move || {
                    let mut numbers = Vec::new();
                    while numbers.len() < 16 {
                        let text = format!("caller={} id={thread}", "x".repeat(1 + numbers.len()));
                        match add(shared, &text) {
                            Ok(number) => numbers.push((number, text)),
                            Err(error) => assert_eq!(error, FilterError::Busy),
                        }
                    }
                    numbers
                })
            })
            .collect();
        let mut expected: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        expected.sort();
        let found: Vec<_> =
            shared.trace_filters().into_iter().map(|filter| (filter.number, filter.text)).collect();
        assert_eq!(found, expected);
    }
}
