//! Trained zstd dictionaries. A slice is too short to compress well by itself; with a dictionary of what messages have
//! in common, a message takes a third. A frame names its dictionary by an id that follows from the dictionary's content;
//! a store keeps each dictionary that its slices need beside them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use zstd::zstd_safe::{
    self, CCtx, CParameter, DCtx, DDict, DictAttachPref, ParamSwitch, ResetDirective, SafeResult,
};

use super::StoredSlice;
use super::pack::{self, Pack};

/// Names a dictionary, in frames and in stores.
pub type DictionaryId = NonZeroU32;

/// zstd's level without a dictionary: higher ones gain a hundredth on slices and cost twice as much.
const LEVEL: i32 = 1;

/// How frames with a dictionary are made. Matches are looked for at every second octet, and are six octets long or more, as what
/// lines of SIP share is. What is left are few literals, which stay as they are: to compress them too would gain a sixth of the disk,
/// and is half of what reading costs.
const WITH_DICTIONARY: [CParameter; 6] = [
    CParameter::CompressionLevel(LEVEL),
    CParameter::HashLog(14),
    CParameter::MinMatch(6),
    CParameter::TargetLength(1),
    CParameter::LiteralCompressionMode(ParamSwitch::Disable),
    // Else its tables are copied for each pack of more than 8 KiB.
    CParameter::ForceAttachDict(DictAttachPref::ForceAttach),
];

/// Dictionaries that a store has in memory at most, some 200 KiB each while in use.
const MOST_KNOWN: usize = 64;

/// A trained dictionary.
pub struct Dictionary {
    id: DictionaryId,
    made_at_us: i64,
    octets: Box<[u8]>,
    /// Tells it from all others of this process.
    serial: u64,
    decoder: DDict<'static>,
}

/// Some octets are no dictionary.
#[derive(Debug, thiserror::Error)]
pub enum DictionaryError {
    /// They are not one that zstd can use.
    #[error("{0} octets are not a zstd dictionary")]
    NotOne(usize),
    /// None can be made of these samples.
    #[error("no dictionary can be made: {0}")]
    Samples(&'static str),
}

/// A frame cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// By zstd.
    #[error("zstd: {0}")]
    Zstd(&'static str),
    /// It does not say how long its content is, or that it is longer than any is.
    #[error("expected the content to have 0 to {most} octets, found {found:?}")]
    Size {
        /// The longest that is read.
        most: usize,
        /// What the frame says.
        found: Option<u64>,
    },
    /// Its dictionary is not there.
    #[error("dictionary {0} is missing")]
    Dictionary(DictionaryId),
}

thread_local! {
    // Making a context costs more than a slice does.
    static ENCODER: RefCell<Encoder> = RefCell::new(Encoder::new());
    static DECODER: RefCell<(DCtx<'static>, Vec<u8>)> = RefCell::new((DCtx::create(), Vec::new()));
}

/// Compresses frames of one thread.
struct Encoder {
    context: CCtx<'static>,
    /// Serial number of the dictionary that the context has loaded.
    loaded: Option<u64>,
    frame: Vec<u8>,
}

impl Encoder {
    fn new() -> Self {
        Self { context: CCtx::create(), loaded: None, frame: Vec::new() }
    }

    /// Makes a frame with this dictionary, which costs as much as some tens of slices where the one before had another.
    fn compress_with(&mut self, dictionary: &Dictionary, content: &[u8]) -> SafeResult {
        if self.loaded != Some(dictionary.serial) {
            self.loaded = None;
            self.context.reset(ResetDirective::SessionAndParameters)?;
            for parameter in WITH_DICTIONARY {
                self.context.set_parameter(parameter)?;
            }
            self.context.load_dictionary(&dictionary.octets)?;
            self.loaded = Some(dictionary.serial);
        }
        self.context.compress2(&mut self.frame, content)
    }
}

impl Dictionary {
    /// From a dictionary's octets, as a store kept them.
    ///
    /// # Errors
    /// When they are not a dictionary.
    pub fn read(octets: Vec<u8>, made_at_us: i64) -> Result<Self, DictionaryError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let not_one = DictionaryError::NotOne(octets.len());
        match (zstd_safe::get_dict_id_from_dict(&octets), DDict::try_create(&octets)) {
            (Some(id), Some(decoder)) => {
                let serial = NEXT.fetch_add(1, Ordering::Relaxed);
                Ok(Self { id, made_at_us, octets: octets.into(), serial, decoder })
            }
            _ => Err(not_one),
        }
    }

    /// Trains one of at most `size` octets with samples that stand one after the other and have these lengths.
    ///
    /// # Errors
    /// When the samples are too few or too alike.
    pub fn train(
        samples: &[u8],
        lengths: &[usize],
        size: usize,
        made_at_us: i64,
    ) -> Result<Self, DictionaryError> {
        let mut octets = Vec::with_capacity(size);
        zstd_safe::train_from_buffer(&mut octets, samples, lengths)
            .map_err(|code| DictionaryError::Samples(zstd_safe::get_error_name(code)))?;
        Self::read(octets, made_at_us)
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> DictionaryId {
        self.id
    }

    /// When it was made, µs since the epoch.
    #[must_use]
    pub const fn made_at_us(&self) -> i64 {
        self.made_at_us
    }

    /// What a store keeps.
    #[must_use]
    pub const fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Octets that some content takes, compressed with a dictionary or without.
    pub(crate) fn compressed_bytes(dictionary: Option<&Self>, content: &[u8]) -> Option<usize> {
        deflate(content, dictionary, <[u8]>::len).ok()
    }
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dictionary")
            .field("id", &self.id)
            .field("octets", &self.octets.len())
            .finish_non_exhaustive()
    }
}

impl Eq for Dictionary {}

impl PartialEq for Dictionary {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.octets == other.octets
    }
}

/// Compresses into one frame, and gives it to `take`.
pub(super) fn deflate<T>(
    content: &[u8],
    dictionary: Option<&Dictionary>,
    take: impl FnOnce(&[u8]) -> T,
) -> Result<T, FrameError> {
    ENCODER.with_borrow_mut(|encoder| {
        encoder.frame.clear();
        encoder.frame.reserve(zstd_safe::compress_bound(content.len()));
        zstd_result(match dictionary {
            Some(dictionary) => encoder.compress_with(dictionary, content),
            // Neither the parameters nor the dictionary of the context count here.
            None => encoder.context.compress(&mut encoder.frame, content, LEVEL),
        })?;
        let taken = take(&encoder.frame);
        // One large slice does not keep its buffer for ever.
        encoder.frame.shrink_to(1 << 20);
        Ok(taken)
    })
}

/// Gives the content of a frame, of at most so many octets, to `take`.
pub(super) fn inflate<T>(
    frame: &[u8],
    dictionary: Option<&Dictionary>,
    most: usize,
    take: impl FnOnce(&[u8]) -> T,
) -> Result<T, FrameError> {
    let found = zstd_safe::get_frame_content_size(frame).ok().flatten();
    let size = found.and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= most);
    let size = size.ok_or(FrameError::Size { most, found })?;
    let dictionary = match dictionary_of(frame) {
        Some(id) => {
            Some(dictionary.filter(|dictionary| dictionary.id == id).ok_or(FrameError::Dictionary(id))?)
        }
        None => None,
    };
    DECODER.with_borrow_mut(|(context, content)| {
        content.clear();
        content.reserve(size);
        zstd_result(match dictionary {
            Some(dictionary) => context.decompress_using_ddict(content, frame, &dictionary.decoder),
            None => context.decompress(content, frame),
        })?;
        let taken = take(content);
        // One large slice does not keep its buffer for ever.
        content.clear();
        content.shrink_to(64 << 10);
        Ok(taken)
    })
}

/// The dictionary that a frame needs.
pub(super) fn dictionary_of(frame: &[u8]) -> Option<DictionaryId> {
    zstd_safe::get_dict_id_from_frame(frame)
}

fn zstd_result(result: SafeResult) -> Result<usize, FrameError> {
    result.map_err(|code| FrameError::Zstd(zstd_safe::get_error_name(code)))
}

/// The dictionaries that some packs need, each once.
pub(super) fn needed<'a>(
    packs: impl IntoIterator<Item = &'a Pack>,
) -> impl Iterator<Item = &'a Arc<Dictionary>> {
    let mut met = Vec::new();
    packs.into_iter().filter_map(|pack| pack.dictionary.as_ref()).filter(move |dictionary| {
        let first = !met.contains(&dictionary.id);
        if first {
            met.push(dictionary.id);
        }
        first
    })
}

/// A dictionary as it was found at `place`; one that is damaged is said, and none.
pub(super) fn stored(octets: Vec<u8>, made_at_us: i64, place: &dyn fmt::Display) -> Option<Arc<Dictionary>> {
    match Dictionary::read(octets, made_at_us) {
        Ok(dictionary) => Some(Arc::new(dictionary)),
        Err(error) => {
            tracing::error!(%place, %error, "a dictionary is damaged; slices that need it cannot be read");
            None
        }
    }
}

/// The dictionaries of a store that are in memory.
#[derive(Debug, Default)]
pub(super) struct Dictionaries {
    known: RwLock<HashMap<DictionaryId, Arc<Dictionary>>>,
}

impl Dictionaries {
    /// Gives each slice the dictionary it needs. The ids of those that are not in memory come back.
    pub fn give(&self, slices: &mut [StoredSlice]) -> Vec<DictionaryId> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut missing = Vec::new();
        // Most need the one that the slice before needed.
        let mut last: Option<&Arc<Dictionary>> = None;
        for slice in slices.iter_mut().filter(|slice| slice.dictionary.is_none()) {
            let Some(id) = pack::dictionary_of(&slice.blob) else { continue };
            if last.is_none_or(|last| last.id != id) {
                last = known.get(&id);
            }
            slice.dictionary = last.cloned();
            if slice.dictionary.is_none() && !missing.contains(&id) {
                missing.push(id);
            }
        }
        missing
    }

    /// Gives slices what was loaded of the dictionaries that [`Self::give`] missed, and keeps it in memory.
    pub fn give_loaded(&self, slices: &mut [StoredSlice], loaded: &[Arc<Dictionary>]) {
        for slice in slices.iter_mut().filter(|slice| slice.dictionary.is_none()) {
            let Some(id) = pack::dictionary_of(&slice.blob) else { continue };
            slice.dictionary = loaded.iter().find(|dictionary| dictionary.id == id).cloned();
        }
        loaded.iter().cloned().for_each(|dictionary| self.keep(dictionary));
    }

    /// Keeps a dictionary in memory.
    pub fn keep(&self, dictionary: Arc<Dictionary>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_KNOWN
            && let Some(oldest) = known.values().min_by_key(|dictionary| dictionary.made_at_us).map(|d| d.id)
        {
            known.remove(&oldest);
        }
        known.insert(dictionary.id, dictionary);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A dictionary of lines that are alike, and differ from those of another seed.
    pub fn trained(seed: &str) -> Arc<Dictionary> {
        let samples: Vec<String> = (0..2000)
            .map(|n| {
                format!(
                    "{seed} INVITE sip:{n}@example.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.{}\r\n",
                    n % 99
                )
            })
            .collect();
        let lengths: Vec<_> = samples.iter().map(String::len).collect();
        let size = 16 * 1024;
        Arc::new(Dictionary::train(samples.concat().as_bytes(), &lengths, size, 7).expect("a dictionary"))
    }

    #[test]
    fn a_frame_needs_its_dictionary_and_no_other() {
        let (first, second) = (trained("first"), trained("second"));
        assert_ne!(first.id(), second.id());
        let content = b"first INVITE sip:77@example.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7\r\n";
        let frame = deflate(content, Some(&first), <[u8]>::to_vec).expect("a frame");
        let plain = deflate(content, None, <[u8]>::to_vec).expect("a frame");
        assert!(frame.len() < plain.len(), "{} {}", frame.len(), plain.len());
        assert_eq!(inflate(&frame, Some(&first), 100, <[u8]>::to_vec).expect("readable"), content);
        for wrong in [None, Some(&*second)] {
            assert!(
                matches!(inflate(&frame, wrong, 100, <[u8]>::to_vec), Err(FrameError::Dictionary(id)) if id == first.id())
            );
        }
        // A dictionary beside a frame without one changes nothing.
        assert_eq!(inflate(&plain, Some(&second), 100, <[u8]>::to_vec).expect("readable"), content);
    }

    #[test]
    fn a_dictionary_that_was_stored_reads_what_was_written_by_it() {
        let made = trained("stored");
        let frame =
            deflate(b"stored INVITE sip:1@example.net", Some(&made), <[u8]>::to_vec).expect("a frame");
        let read = Dictionary::read(made.octets().to_vec(), made.made_at_us()).expect("a dictionary");
        assert_eq!(read, *made);
        assert_eq!(
            inflate(&frame, Some(&read), 100, <[u8]>::to_vec).expect("readable"),
            b"stored INVITE sip:1@example.net"
        );
        for octets in [&b""[..], b"not a dictionary", &made.octets()[..20]] {
            assert!(Dictionary::read(octets.to_vec(), 0).is_err());
        }
    }

    #[test]
    fn a_thread_goes_from_one_dictionary_to_another_and_to_none() {
        let dictionaries =
            [Some(trained("first")), None, Some(trained("second")), Some(trained("first")), None];
        for dictionary in dictionaries.iter().chain(dictionaries.iter().rev()).map(Option::as_deref) {
            let content = b"first INVITE sip:77@example.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7\r\n";
            let frame = deflate(content, dictionary, <[u8]>::to_vec).expect("a frame");
            assert_eq!(dictionary_of(&frame), dictionary.map(Dictionary::id));
            assert_eq!(inflate(&frame, dictionary, 100, <[u8]>::to_vec).expect("readable"), content);
        }
    }

    #[test]
    fn what_a_frame_claims_is_not_believed() {
        let frame = deflate(&[b'x'; 1000], None, <[u8]>::to_vec).expect("a frame");
        assert!(matches!(
            inflate(&frame, None, 999, <[u8]>::to_vec),
            Err(FrameError::Size { found: Some(1000), .. })
        ));
        for length in 0..frame.len() {
            assert!(inflate(&frame[..length], None, 1000, <[u8]>::to_vec).is_err(), "{length}");
        }
        assert!(inflate(b"no frame at all", None, 1000, <[u8]>::to_vec).is_err());
    }

    #[test]
    fn of_many_dictionaries_the_oldest_leaves_the_memory() {
        let known = Dictionaries::default();
        let template = trained("many");
        for made_at_us in 0..=MOST_KNOWN {
            // An id stands in octets 4 to 8 of a dictionary.
            let mut octets = template.octets().to_vec();
            octets[4..8].copy_from_slice(&u32::try_from(made_at_us + 40_000).expect("an id").to_le_bytes());
            known.keep(Arc::new(Dictionary::read(octets, made_at_us as i64).expect("a dictionary")));
        }
        let known = known.known.into_inner().expect("unharmed");
        assert_eq!(known.len(), MOST_KNOWN);
        assert!(known.values().all(|dictionary| dictionary.made_at_us > 0));
    }
}
