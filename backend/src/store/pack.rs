//! A pack: several slices in one row of a store, compressed together (ADR 0034). What slices of one flush have in common is stored
//! once, and a row costs what it costs once for all of them.
//!
//! Format 4: one octet `4`, and a zstd frame, which may need a [dictionary]. Its content is the slices, one after the other; then
//! for each of them (postcard) its length, and the time of its first message, µs after that of the slice before it; and in one
//! octet how long this list is.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::dictionary::{self, Dictionary, DictionaryId};
use super::slice::{self, Slice, SliceError, StoredSlice};
use crate::call::message::{CapturedRef, Message, MessageId};

const FORMAT: u8 = 4;

/// So many low bits of a slice's id are its place in its pack.
const SLICE_BITS: u32 = 3;

/// The most slices of a pack. As many ids are kept for each pack.
pub const SLICES: usize = 1 << SLICE_BITS;

/// The most content of a pack of more than one slice, octets before compression. Who wants one slice reads the whole pack.
const MOST_BYTES: usize = 8 * 1024;

/// The longest content of a frame that is read, octets: a payload may inflate to 16 MiB (`hep.inflated_bytes`).
const MAX_CONTENT_BYTES: usize = 32 << 20;

/// Slices that are stored together: one at least, under one retention rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pack {
    /// What is said of each slice, in the order in which they lie.
    pub slices: Vec<Slice>,
    /// Name of the retention rule that they are kept under.
    pub rule: Arc<str>,
    /// What they cannot be read without; a store keeps it for as long as the pack.
    pub dictionary: Option<Arc<Dictionary>>,
    /// The slices.
    pub blob: Vec<u8>,
}

/// What is said of a slice at the end of a pack.
#[derive(Debug, Deserialize, Serialize)]
struct Part {
    bytes: u32,
    after_us: i64,
}

/// The content of a pack in the making.
#[derive(Debug, Default)]
pub struct Content {
    octets: Vec<u8>,
    parts: Vec<Part>,
    last_us: i64,
}

impl Pack {
    /// How many messages it holds.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.slices.iter().map(|slice| u64::from(slice.count)).sum()
    }

    /// Times of its slices' last messages, µs since the epoch.
    pub fn last_us(&self) -> impl Iterator<Item = i64> + Clone {
        self.slices.iter().map(|slice| slice.last_us)
    }

    /// Its slices as they come from a store that gave the first of them this id.
    #[must_use]
    pub fn stored(&self, first_id: i64) -> Vec<StoredSlice> {
        let blob = Bytes::copy_from_slice(&self.blob);
        let stored = |(index, (id, slice)): (usize, (i64, &Slice))| {
            let (dictionary, blob) = (self.dictionary.clone(), blob.clone());
            StoredSlice { id, last_us: slice.last_us, index, dictionary, blob }
        };
        (first_id..).zip(&self.slices).enumerate().map(stored).collect()
    }

    /// Its messages, those of slice after slice.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn read(&self) -> Result<Vec<Message>, SliceError> {
        let mut messages = Vec::new();
        for slice in self.stored(0) {
            messages.append(&mut slice.messages()?);
        }
        Ok(messages)
    }

    /// Each of its slices as a pack of its own.
    ///
    /// # Errors
    /// When it cannot be read, or no memory is left.
    pub fn apart(&self) -> Result<Vec<Self>, SliceError> {
        with_content(&self.blob, self.dictionary.as_deref(), |content| {
            let mut apart = Vec::with_capacity(self.slices.len());
            for (slice, (_, octets)) in self.slices.iter().zip(slices_in(content)?) {
                let mut content = Content::default();
                content.push(slice.first_us, octets);
                let blob = content.blob(self.dictionary.as_deref())?;
                apart.push(Self { slices: vec![slice.clone()], blob, ..self.without_slices() });
            }
            Ok(apart)
        })
    }

    fn without_slices(&self) -> Self {
        let (rule, dictionary) = (Arc::clone(&self.rule), self.dictionary.clone());
        Self { slices: Vec::new(), rule, dictionary, blob: Vec::new() }
    }
}

impl Content {
    /// Whether there is room for a slice of so many octets.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.parts.is_empty() || (self.parts.len() < SLICES && self.octets.len() + bytes <= MOST_BYTES)
    }

    /// Adds a slice, whose first message was captured at `first_us`, µs since the epoch.
    pub fn push(&mut self, first_us: i64, octets: &[u8]) {
        let bytes = u32::try_from(octets.len()).unwrap_or(u32::MAX);
        self.parts.push(Part { bytes, after_us: first_us.wrapping_sub(self.last_us) });
        self.last_us = first_us;
        self.octets.extend_from_slice(octets);
    }

    /// All of it as the blob of a pack; then it is empty.
    ///
    /// # Errors
    /// When it cannot be compressed, which only lack of memory brings about.
    pub fn blob(&mut self, dictionary: Option<&Dictionary>) -> Result<Vec<u8>, SliceError> {
        let Self { mut octets, parts, .. } = std::mem::take(self);
        let bytes = octets.len();
        for part in &parts {
            octets =
                postcard::to_extend(part, octets).map_err(|error| SliceError::Header(error.to_string()))?;
        }
        octets.push(u8::try_from(octets.len() - bytes).map_err(|_| SliceError::Pack("too many slices"))?);
        let blob = dictionary::deflate(&octets, dictionary, |frame| {
            let mut blob = Vec::with_capacity(1 + frame.len());
            blob.push(FORMAT);
            blob.extend_from_slice(frame);
            blob
        })?;
        octets.clear();
        // One large slice does not keep its memory for ever.
        octets.shrink_to(4 * MOST_BYTES);
        self.octets = octets;
        Ok(blob)
    }

    /// Octets of it.
    pub fn bytes(&self) -> usize {
        self.octets.len()
    }
}

/// The number of the pack that a slice with this id is in, and the slice's place there.
#[must_use]
pub fn number_of(id: i64) -> (i64, usize) {
    (id >> SLICE_BITS, (id & ((1 << SLICE_BITS) - 1)).unsigned_abs() as usize)
}

/// The id of the first slice of the pack with this number.
#[must_use]
pub const fn first_id(number: i64) -> i64 {
    number << SLICE_BITS
}

/// The dictionary that a pack cannot be read without.
#[must_use]
pub fn dictionary_of(blob: &[u8]) -> Option<DictionaryId> {
    match blob.split_first() {
        Some((&FORMAT, frame)) => dictionary::dictionary_of(frame),
        _ => None,
    }
}

/// Slices, those of one pack together, each with its place in the order in which they came.
#[must_use]
pub fn together(stored: Vec<StoredSlice>) -> Vec<(usize, StoredSlice)> {
    // What is sorted is a third as large as slices are.
    let order =
        |(place, slice): (usize, &StoredSlice)| (slice.blob.as_ptr(), slice.blob.len(), slice.index, place);
    let mut order: Vec<_> = stored.iter().enumerate().map(order).collect();
    order.sort_unstable();
    let mut stored: Vec<_> = stored.into_iter().map(Some).collect();
    order.into_iter().filter_map(|(_, _, _, place)| Some((place, stored.get_mut(place)?.take()?))).collect()
}

/// Whether two slices that were read together are of one pack.
#[must_use]
pub fn is_one(a: &StoredSlice, b: &StoredSlice) -> bool {
    a.blob.as_ptr() == b.blob.as_ptr() && a.blob.len() == b.blob.len()
}

/// Shows what was captured in some slices of one pack, with a payload that is wanted, where it lies: of slice after slice, with the
/// number that stands beside it here, and of each in order of capture. What is said of some octets must be said of those that they are
/// part of too: the whole pack is asked about first, then each slice, and nothing more is done where it is not wanted.
///
/// # Errors
/// When something is damaged; all else may have been shown.
pub fn visit(
    slices: &[(usize, StoredSlice)],
    wanted: impl Fn(&[u8]) -> bool,
    mut see: impl FnMut(usize, MessageId, CapturedRef<'_>),
) -> Result<(), SliceError> {
    let Some((_, first)) = slices.first() else { return Ok(()) };
    with_content(&first.blob, first.dictionary.as_deref(), |content| {
        if !wanted(content) {
            return Ok(());
        }
        let in_pack = slices_in(content)?;
        let mut done = Ok(());
        for (number, slice) in slices {
            let shown = match in_pack.get(slice.index) {
                Some((_, octets)) if !wanted(octets) => Ok(()),
                Some((first_us, octets)) => {
                    slice::visit(slice.id, *first_us, octets, &wanted, |id, captured| {
                        see(*number, id, captured)
                    })
                }
                None => Err(SliceError::Pack("a slice is missing")),
            };
            done = done.and(shown);
        }
        done
    })
}

/// Gives the content of a pack to `take`.
fn with_content<T>(
    blob: &[u8],
    dictionary: Option<&Dictionary>,
    take: impl FnOnce(&[u8]) -> Result<T, SliceError>,
) -> Result<T, SliceError> {
    match blob.split_first() {
        Some((&FORMAT, frame)) => dictionary::inflate(frame, dictionary, MAX_CONTENT_BYTES, take)?,
        found => Err(SliceError::Format(found.map(|(format, _)| *format))),
    }
}

/// The slices in a pack's content, each with the time of its first message.
fn slices_in(content: &[u8]) -> Result<Vec<(i64, &[u8])>, SliceError> {
    let (length, rest) = content.split_last().ok_or(SliceError::Pack("empty"))?;
    let begin = rest.len().checked_sub((*length).into()).ok_or(SliceError::Pack("cut short"))?;
    let (mut octets, mut parts) = rest.split_at(begin);
    let mut first_us = 0_i64;
    let mut slices = Vec::with_capacity(SLICES);
    while !parts.is_empty() {
        let (Part { bytes, after_us }, others) =
            postcard::take_from_bytes(parts).map_err(|error| SliceError::Header(error.to_string()))?;
        parts = others;
        if slices.len() == SLICES {
            return Err(SliceError::Pack("too many slices"));
        }
        first_us = first_us.wrapping_add(after_us);
        let (slice, rest) =
            octets.split_at_checked(bytes as usize).ok_or(SliceError::Pack("a slice is cut short"))?;
        octets = rest;
        slices.push((first_us, slice));
    }
    Ok(slices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::sample::{answered, call};
    use crate::store::dictionary::FrameError;
    use crate::store::dictionary::tests::trained;
    use crate::store::slice::{Cutter, MAX_MESSAGES};

    /// The start of so many calls, one slice each.
    fn calls(count: usize) -> Vec<Message> {
        let of = |n: usize| {
            let start = call(&answered()).messages.into_iter().take(3);
            start.map(move |mut message| {
                let raw = String::from_utf8_lossy(&message.captured.raw)
                    .replace("Call-ID: ", &format!("Call-ID: {n}"));
                message.captured.raw = raw.into_bytes().into();
                message.captured.captured_at_us += n as i64;
                Message::read(MessageId::default(), message.captured)
            })
        };
        (0..count).flat_map(of).collect()
    }

    fn pack(cutter: &Cutter, messages: Vec<Message>) -> Pack {
        let mut packs = cutter.cut(messages).expect("packs");
        assert_eq!(packs.len(), 1);
        packs.remove(0)
    }

    fn captured(messages: Vec<Message>) -> Vec<crate::call::message::Captured> {
        messages.into_iter().map(|message| message.captured).collect()
    }

    #[test]
    fn what_was_cut_off_is_told_of_each_message() {
        let mut messages = calls(1);
        messages[1].captured.full_length = Some(70_000);
        let read = pack(&Cutter::default(), messages).read().expect("readable");
        assert_eq!(
            read.iter().map(|m| m.captured.full_length).collect::<Vec<_>>(),
            [None, Some(70_000), None]
        );
    }

    #[test]
    fn slices_of_a_pack_are_read_each_or_together_with_a_dictionary_or_without() {
        let with_dictionary = Cutter { dictionary: Some(trained("call")), ..Cutter::default() };
        for cutter in [Cutter::default(), with_dictionary] {
            let messages = calls(5);
            let pack = pack(&cutter, messages.clone());
            assert_eq!(dictionary_of(&pack.blob), cutter.dictionary.as_ref().map(|d| d.id()));
            assert_eq!((pack.slices.len(), pack.messages()), (5, 15));
            assert_eq!(captured(pack.read().expect("readable")), captured(messages.clone()));
            for (n, slice) in pack.stored(800).into_iter().enumerate() {
                assert_eq!((slice.id, number_of(slice.id)), (800 + n as i64, (100, n)));
                let of_slice = slice.messages().expect("readable");
                assert!(of_slice.iter().all(|message| message.id.slice == slice.id));
                assert_eq!(captured(of_slice), captured(messages[n * 3..n * 3 + 3].to_vec()));
            }
            // Out of order, as a walk brings them, and not all of them.
            let mut stored = pack.stored(first_id(100));
            stored.swap(1, 4);
            stored.remove(0);
            let together = together(stored);
            assert!(together.windows(2).all(|pair| is_one(&pair[0].1, &pair[1].1)));
            let mut seen = Vec::new();
            visit(&together, |_| true, |number, id, _| seen.push((number, id.slice))).expect("readable");
            seen.dedup();
            assert_eq!(seen, [(3, 801), (1, 802), (2, 803), (0, 804)]);
            // Of a part that is wanted nothing else is shown.
            let of_third = |octets: &[u8]| String::from_utf8_lossy(octets).contains("Call-ID: 2");
            let mut seen = Vec::new();
            visit(&together, of_third, |number, id, _| seen.push((number, id.slice))).expect("readable");
            assert_eq!(seen, [(1, 802); 3]);
        }
    }

    #[test]
    fn a_pack_comes_apart_into_packs_of_its_slices() {
        let cutter = Cutter { dictionary: Some(trained("call")), ..Cutter::default() };
        let whole = pack(&cutter, calls(4));
        let apart = whole.apart().expect("apart");
        assert_eq!(apart.iter().map(|pack| pack.slices.len()).collect::<Vec<_>>(), [1; 4]);
        let slices: Vec<_> = apart.iter().flat_map(|pack| pack.slices.clone()).collect();
        assert_eq!(slices, whole.slices);
        let read = apart.iter().flat_map(|pack| captured(pack.read().expect("readable")));
        assert_eq!(read.collect::<Vec<_>>(), captured(whole.read().expect("readable")));
    }

    #[test]
    fn without_its_dictionary_a_pack_is_not_read() {
        let cutter = Cutter { dictionary: Some(trained("call")), ..Cutter::default() };
        let lost = Pack { dictionary: None, ..pack(&cutter, calls(2)) };
        assert!(matches!(lost.read(), Err(SliceError::Frame(FrameError::Dictionary(_)))));
    }

    #[test]
    fn a_slice_that_is_damaged_leaves_the_others_of_its_pack() {
        let slices = pack(&Cutter::default(), calls(2));
        let good = with_content(&slices.blob, None, |content| Ok(slices_in(content)?[1].1.to_vec()));
        let mut content = Content::default();
        content.push(5, b"no slice");
        content.push(7, &good.expect("a slice"));
        let blob = content.blob(None).expect("a pack");
        let stored = together(Pack { blob, ..slices }.stored(16));
        let mut seen = Vec::new();
        let visited =
            visit(&stored, |_| true, |number, _, captured| seen.push((number, captured.captured_at_us)));
        assert!(matches!(visited, Err(SliceError::Header(_))), "{visited:?}");
        assert_eq!((seen.len(), seen[0]), (3, (1, 7)));
    }

    #[test]
    fn a_place_that_the_pack_does_not_have_is_damage() {
        let mut stored = pack(&Cutter::default(), calls(2)).stored(0);
        stored[1].index = 2;
        let mut seen = 0;
        let visited = visit(&together(stored), |_| true, |_, _, _| seen += 1);
        assert!(matches!(visited, Err(SliceError::Pack(_))));
        assert_eq!(seen, 3);
    }

    #[test]
    fn a_pack_that_is_cut_or_of_another_format_is_refused() {
        let whole = pack(&Cutter::default(), calls(2));
        let read = |blob: &[u8]| Pack { blob: blob.to_vec(), ..whole.clone() }.read();
        assert!(read(&whole.blob).is_ok());
        for length in 0..whole.blob.len() {
            assert!(read(&whole.blob[..length]).is_err(), "{length}");
        }
        for format in [3, 5] {
            let other = read(&[&[format], &whole.blob[1..]].concat());
            assert!(matches!(other, Err(SliceError::Format(Some(found))) if found == format));
        }
    }

    #[test]
    fn no_more_slices_or_messages_than_there_can_be_are_read() {
        let mut content = Content::default();
        (0..=SLICES).for_each(|_| content.push(0, b""));
        let blob = content.blob(None).expect("a pack");
        assert!(matches!(
            with_content(&blob, None, |content| slices_in(content).map(|_| ())),
            Err(SliceError::Pack("too many slices"))
        ));
        let messages = |count: usize| {
            let octets = slice::tests::of_entries(count);
            let mut seen = 0;
            slice::visit(1, 0, &octets, |_| true, |_, _| seen += 1).map(|()| seen)
        };
        assert_eq!(messages(MAX_MESSAGES).expect("as many as there may be"), MAX_MESSAGES);
        assert!(matches!(messages(MAX_MESSAGES + 1), Err(SliceError::Header(_))));
    }
}
