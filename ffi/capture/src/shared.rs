//! The memory that all processes share: switch, collectors, counters, queues.

mod counting;
mod watch;

use std::hash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::collector::CollectorUri;
use crate::layout::{AttachError, COLLECTORS, Layout};
use crate::queue::{Reader, Writer};
use crate::sessions::Sessions;
use crate::stats::{CollectorCounters, ProcessCounters};

pub use counting::Status;

/// A handle on the shared memory; copies refer to the same.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    words: &'static [AtomicU64],
    layout: Layout,
    /// None of these two changes after the start, so the copies that forked processes have agree.
    seed: &'static RandomState,
    started: Instant,
}

/// Something that is logged once on the whole host, whichever process meets it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Notice {
    /// A script's collector URI is none.
    BadCollector,
    /// A correlation id is too long for the session table.
    IdTooLong,
    /// A message that was to be followed has no Call-ID.
    NoCallId,
    /// The session table is full.
    TableFull,
    /// The script gave a source or destination that is none.
    BadEnd,
    /// The host's structs are not what the module was built for.
    BadLayout,
    /// The script asked for a mode that is not available.
    BadMode,
    /// The script named no collector, and no default is set.
    NoCollector,
    /// A process came without a queue of its own.
    NoQueue,
    /// A script asked for more than its message, but the host shows no others.
    NotShown,
    /// Our own code panicked.
    Panic,
    /// More different collectors than there are slots.
    TooManyCollectors,
    /// A message could not be made into a packet.
    Unencodable,
}

/// Words of the head; more of them are in `counting` and `watch`.
const ENABLED: usize = 0;
const SAID: usize = 1;
const MIRROR: usize = 2;
// The fourth line describes the memory; see `layout`.

/// Words of a collector slot. The counters lie behind the text; see `stats`.
const STATE: usize = 0;
const TEXT_LEN: usize = 1;
const TEXT: usize = 2;
const TEXT_WORDS: usize = CollectorUri::MAX_BYTES.div_ceil(size_of::<u64>());

/// Stands before the text of a collector that gets copies. No URI begins so, hence no script can name its slot.
pub(crate) const MIRROR_MARK: &[u8] = b"+";

/// The text behind the mark, and whether there is one.
pub(crate) fn without_mark(text: &[u8]) -> (&[u8], bool) {
    text.strip_prefix(MIRROR_MARK).map_or((text, false), |text| (text, true))
}

/// States of a slot. It goes from free over claimed to ready, and stays.
const FREE: u64 = 0;
const CLAIMED: u64 = 1;
const READY: u64 = 2;

impl Shared {
    /// Takes zeroed memory, all of it, into use. Call it once, before any process that will offer is forked.
    ///
    /// `None` if the memory is not as long as the layout says.
    #[must_use]
    pub fn new(words: &'static [AtomicU64], layout: Layout, enabled: bool) -> Option<Self> {
        (layout.words()? == words.len()).then_some(())?;
        layout.describe(words);
        let shared = Self::on(words, layout, Instant::now());
        shared.set_enabled(enabled);
        Some(shared)
    }

    /// Attaches to memory that another program took into use `age` ago, as a sender: it must not
    /// [`offer`](crate::Agent::offer).
    ///
    /// What stands in the memory is not trusted: whatever is in it, nothing here panics or reads outside of it.
    ///
    /// # Errors
    /// [`AttachError`] if the memory is not what [`new`](Self::new) made.
    pub fn attach(words: &'static [AtomicU64], age: Duration) -> Result<Self, AttachError> {
        let layout = Layout::described(words)?;
        let now = Instant::now();
        Ok(Self::on(words, layout, now.checked_sub(age).unwrap_or(now)))
    }

    fn on(words: &'static [AtomicU64], layout: Layout, started: Instant) -> Self {
        Self { words, layout, seed: Box::leak(Box::new(RandomState::new())), started }
    }

    /// For how long this memory has been in use.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// How the memory is divided.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Whether messages are taken.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.head(ENABLED).load(Ordering::Relaxed) != 0
    }

    /// The switch for all processes; it acts on the next message of each.
    pub fn set_enabled(&self, enabled: bool) {
        self.head(ENABLED).store(u64::from(enabled), Ordering::Relaxed);
    }

    /// The table of sessions; none in a layout without.
    pub(crate) fn sessions(&self) -> Option<Sessions> {
        let (keys, entries) = self.layout.sessions(self.words);
        Sessions::new(keys, entries)
    }

    /// What keys are hashed with.
    pub(crate) fn seed(&self) -> &'static RandomState {
        self.seed
    }

    /// Seconds since the start, never 0; the same clock in all processes, and one that nobody sets.
    pub(crate) fn seconds(&self) -> u64 {
        self.started.elapsed().as_secs() + 1
    }

    /// Whether nobody on this host asked for this notice before.
    #[must_use]
    pub fn first_time(&self, notice: Notice) -> bool {
        let bit = 1 << notice as u8;
        // Nearly always said already: a load spares the other processes a contended write.
        self.head(SAID).load(Ordering::Relaxed) & bit == 0
            && self.head(SAID).fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    /// Makes a collector known, so that the sender can connect before the first message for it.
    pub fn announce_collector(&self, text: &[u8]) {
        let _slot = self.collector_slot(text);
    }

    /// Makes a collector known that gets a copy of every message. Call it once, with a text of at most
    /// [`Config::MAX_MIRROR_BYTES`](crate::Config::MAX_MIRROR_BYTES).
    pub fn announce_mirror(&self, text: &[u8]) {
        if let Some(slot) = self.collector_slot(&[MIRROR_MARK, text].concat()) {
            self.head(MIRROR).store(u64::from(slot) + 1, Ordering::Relaxed);
        }
    }

    /// The slot of the collector that gets copies.
    pub(crate) fn mirror(&self) -> Option<usize> {
        usize::try_from(self.head(MIRROR).load(Ordering::Relaxed)).ok()?.checked_sub(1)
    }

    /// The slot of the collector with this text, a new one if need be; `None` if all are taken by others.
    ///
    /// The text is compared as it stands: two spellings of one address are two collectors.
    pub(crate) fn collector_slot(&self, text: &[u8]) -> Option<u8> {
        (0..COLLECTORS).find(|&slot| self.is_or_becomes(slot, text)).and_then(|slot| u8::try_from(slot).ok())
    }

    fn is_or_becomes(&self, slot: usize, text: &[u8]) -> bool {
        let words = self.layout.collector(self.words, slot);
        let state = &words[STATE];
        if state.compare_exchange(FREE, CLAIMED, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            for (word, chunk) in words[TEXT..].iter().zip(text.chunks(size_of::<u64>())) {
                let mut bytes = [0; size_of::<u64>()];
                bytes[..chunk.len()].copy_from_slice(chunk);
                word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
            }
            words[TEXT_LEN].store(text.len() as u64, Ordering::Relaxed);
            state.store(READY, Ordering::Release);
            return true;
        }
        // Somebody else may be writing it this very moment; that takes a fraction of a microsecond. If it takes
        // longer, the other is suspended or dead, and a second slot for the same text does no harm.
        for _ in 0..1000 {
            if state.load(Ordering::Acquire) == READY {
                break;
            }
            std::hint::spin_loop();
        }
        let (held, len) = self.text(slot);
        held.get(..len) == Some(text)
    }

    /// The text of a collector that is in use.
    pub(crate) fn collector_text(&self, slot: usize) -> Option<Vec<u8>> {
        let (text, len) = self.text(slot);
        (len > 0).then(|| text.get(..len).unwrap_or_default().to_vec())
    }

    fn text(&self, slot: usize) -> ([u8; TEXT_WORDS * size_of::<u64>()], usize) {
        let mut text = [0; TEXT_WORDS * size_of::<u64>()];
        let words = self.layout.collector(self.words, slot);
        if words[STATE].load(Ordering::Acquire) != READY {
            return (text, 0);
        }
        for (bytes, word) in text.chunks_exact_mut(size_of::<u64>()).zip(&words[TEXT..]) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        let len = usize::try_from(words[TEXT_LEN].load(Ordering::Relaxed)).unwrap_or(0);
        (text, len.min(CollectorUri::MAX_BYTES))
    }

    pub(crate) fn collector_counters(&self, slot: usize) -> CollectorCounters {
        CollectorCounters(&self.layout.collector(self.words, slot)[TEXT + TEXT_WORDS..])
    }

    pub(crate) fn process_counters(&self, process: usize) -> Option<ProcessCounters> {
        (process < self.layout.processes).then(|| ProcessCounters(self.layout.process(self.words, process)))
    }

    pub(crate) fn writer(&self, process: usize) -> Option<Writer> {
        (process < self.layout.processes).then(|| self.layout.ring(self.words, process)).and_then(Writer::new)
    }

    pub(crate) fn readers(&self) -> Vec<Reader> {
        let rings = (0..self.layout.processes).map(|process| self.layout.ring(self.words, process));
        rings.filter_map(Reader::new).collect()
    }

    fn head(&self, word: usize) -> &'static AtomicU64 {
        &self.layout.head(self.words)[word]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> Shared {
        let layout = Layout::new(2, 128);
        let words = (0..layout.words().unwrap()).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak();
        Shared::new(words, layout, true).unwrap()
    }

    #[test]
    fn memory_of_another_size_is_refused() {
        let words = vec![].leak();
        assert!(Shared::new(words, Layout::new(1, 128), true).is_none());
    }

    #[test]
    fn the_same_text_is_the_same_slot_and_the_seventeenth_is_refused() {
        let shared = shared();
        let text = |number: usize| format!("udp:127.0.0.1:{}", 9000 + number);
        for number in 0..COLLECTORS {
            assert_eq!(shared.collector_slot(text(number).as_bytes()).map(usize::from), Some(number));
        }
        assert_eq!(shared.collector_slot(text(3).as_bytes()), Some(3));
        assert_eq!(shared.collector_slot(text(16).as_bytes()), None);
        assert_eq!(shared.collector_text(15), Some(text(15).into_bytes()));
    }

    #[test]
    fn threads_that_claim_at_once_agree() {
        let shared = shared();
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                std::thread::spawn(move || {
                    (0..4)
                        .map(|n| shared.collector_slot(format!("udp:h{}:1", (n + thread) % 4).as_bytes()))
                        .count()
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| {
            thread.join().unwrap();
        });
        let texts: Vec<_> = (0..COLLECTORS).filter_map(|slot| shared.collector_text(slot)).collect();
        assert_eq!(texts.len(), 4, "{texts:?}");
    }

    #[test]
    fn a_notice_is_new_once() {
        let shared = shared();
        assert!(shared.first_time(Notice::Panic));
        assert!(!shared.first_time(Notice::Panic));
        assert!(shared.first_time(Notice::BadMode));
    }

    #[test]
    fn the_longest_uri_fits_its_slot() {
        let shared = shared();
        let longest = format!("udp:{}:9060", "h".repeat(CollectorUri::MAX_BYTES - 9));
        assert_eq!(longest.len(), CollectorUri::MAX_BYTES);
        let slot = shared.collector_slot(longest.as_bytes()).unwrap();
        assert_eq!(shared.collector_text(slot.into()), Some(longest.into_bytes()));
    }
}
