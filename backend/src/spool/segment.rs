//! A segment's octets; `spool.rs` has the format.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use hep::Sequence;

use super::Record;
use crate::checksum::crc32c;

const MAGIC: [u8; 8] = *b"SLSPOOL\n";
const VERSION: u32 = 2;

/// In the octet that tells the transport: stream and number stand before the packet.
const NUMBERED: u8 = 0x80;

/// In the place of a transport: what follows is no packet, but streams and their highest numbers.
const STREAMS: u8 = 0;

/// Octets before the first of them: time, kind, and what is a peer's family and port elsewhere.
const STREAMS_HEAD_LEN: usize = 12;

/// Octets of one of them.
const STREAM_LEN: usize = 16;

/// Octets of a segment's header: where its first record begins.
pub(super) const HEADER_LEN: u64 = 24;

/// Octets before a record's body: length and CRC.
pub(super) const PREFIX_LEN: usize = 8;

/// Longest body of a record, octets: far more than a HEP packet can have, and a bound on what recovery believes.
pub const MAX_RECORD_LEN: usize = 1 << 20;

/// Time, transport, family, port and an IPv4 address, with an empty packet after them.
const MIN_RECORD_LEN: usize = 8 + 1 + 1 + 2 + 4;

/// Where a segment is.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(name(number))
}

/// What its file is called.
pub(super) fn name(number: u64) -> String {
    format!("{number:020}.seg")
}

/// A segment's number by its file's name; `None` for files of another kind.
pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() == 20).then(|| digits.parse().ok())?
}

/// The header of a segment.
pub(super) fn header(number: u64) -> [u8; HEADER_LEN as usize] {
    header_of(VERSION, number)
}

fn header_of(version: u32, number: u64) -> [u8; HEADER_LEN as usize] {
    let mut header = [0; HEADER_LEN as usize];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&version.to_le_bytes());
    header[12..20].copy_from_slice(&number.to_le_bytes());
    let crc = crc32c([&header[..20]]);
    header[20..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// What a header says.
#[derive(Debug, PartialEq)]
pub(super) enum HeaderIs {
    /// That of the segment asked for.
    Good,
    /// Of a version that is not known.
    Later(u32),
    /// Incomplete, damaged, or of another segment.
    Bad,
}

/// Reads a header.
pub(super) fn check_header(octets: &[u8], expected: u64) -> HeaderIs {
    let Some(found) = octets.first_chunk::<{ HEADER_LEN as usize }>() else { return HeaderIs::Bad };
    let Some((magic, rest)) = found.split_first_chunk::<8>() else { return HeaderIs::Bad };
    let Some((version, _)) = rest.split_first_chunk::<4>() else { return HeaderIs::Bad };
    let version = u32::from_le_bytes(*version);
    if *magic == MAGIC && version > VERSION {
        return HeaderIs::Later(version);
    }
    if *found == header_of(version, expected) { HeaderIs::Good } else { HeaderIs::Bad }
}

/// The octets of a record before its packet: prefix, time, transport, peer, stream and number; its CRC is computed when the
/// packet stands behind it.
pub(super) struct Head {
    octets: [u8; PREFIX_LEN + 44],
    len: usize,
}

impl Head {
    /// For this record. `None` if it is too long.
    pub(super) fn new(record: &Record<&[u8]>, sequence: Option<Sequence>) -> Option<Self> {
        let mut head = Self { octets: [0; PREFIX_LEN + 44], len: PREFIX_LEN };
        head.put(&record.received_at_us.to_le_bytes());
        let (family, port) = match record.peer {
            SocketAddr::V4(peer) => (4, peer.port()),
            SocketAddr::V6(peer) => (6, peer.port()),
        };
        let numbered = if sequence.is_some() { NUMBERED } else { 0 };
        head.put(&[record.transport.code() | numbered, family]);
        head.put(&port.to_le_bytes());
        match record.peer.ip() {
            IpAddr::V4(ip) => head.put(&ip.octets()),
            IpAddr::V6(ip) => head.put(&ip.octets()),
        }
        if let Some(Sequence { stream, number, .. }) = sequence {
            head.put(&stream.to_le_bytes());
            head.put(&number.to_le_bytes());
        }
        let body_len = head.len - PREFIX_LEN + record.hep.len();
        let length = u32::try_from(body_len).ok().filter(|_| body_len <= MAX_RECORD_LEN)?;
        head.octets[..4].copy_from_slice(&length.to_le_bytes());
        Some(head)
    }

    fn put(&mut self, octets: &[u8]) {
        self.octets[self.len..self.len + octets.len()].copy_from_slice(octets);
        self.len += octets.len();
    }

    /// Octets of the record with a packet of this length.
    pub(super) const fn record_len(&self, packet_len: usize) -> usize {
        self.len + packet_len
    }

    /// Appends the record with its packet.
    pub(super) fn append(&self, packet: &[u8], group: &mut Vec<u8>) {
        let from = group.len();
        group.extend_from_slice(&self.octets[..self.len]);
        group.extend_from_slice(packet);
        let record = &mut group[from..];
        let crc = crc32c([&record[..4], &record[PREFIX_LEN..]]);
        record[4..PREFIX_LEN].copy_from_slice(&crc.to_le_bytes());
    }
}

/// What stands at the start of some octets.
#[derive(Debug, PartialEq)]
pub(super) enum Parsed<'a> {
    /// A record, and the octets it takes.
    Record(Record<&'a [u8]>, usize),
    /// Streams, and the octets that they take.
    Streams(usize),
    /// The start of a record that takes so many octets in all.
    Incomplete(usize),
    /// No record, and no start of one.
    Bad,
}

/// Reads one record.
pub(super) fn parse(octets: &[u8]) -> Parsed<'_> {
    let total = match check(octets) {
        Ok(total) => total,
        Err(parsed) => return parsed,
    };
    match read_body(&octets[PREFIX_LEN..total]) {
        Some(Body::Record(record)) => Parsed::Record(record, total),
        Some(Body::Streams) => Parsed::Streams(total),
        None => Parsed::Bad,
    }
}

/// The records that say what is in all segments before this one: as many as the streams need, mostly one or none.
pub(super) fn streams(streams: &[(u64, u64)], now_us: i64) -> Vec<u8> {
    let most = (MAX_RECORD_LEN - STREAMS_HEAD_LEN) / STREAM_LEN;
    let mut octets = Vec::new();
    for streams in streams.chunks(most) {
        let len = STREAMS_HEAD_LEN + streams.len() * STREAM_LEN;
        // No longer than a record may be.
        let length = (len as u32).to_le_bytes();
        let mut body = Vec::with_capacity(len);
        body.extend_from_slice(&now_us.to_le_bytes());
        body.extend_from_slice(&[STREAMS, 0, 0, 0]);
        for (stream, highest) in streams {
            body.extend_from_slice(&stream.to_le_bytes());
            body.extend_from_slice(&highest.to_le_bytes());
        }
        octets.extend_from_slice(&length);
        octets.extend_from_slice(&crc32c([&length, &body]).to_le_bytes());
        octets.extend_from_slice(&body);
    }
    octets
}

/// Octets that [`streams`] makes of so many, at most.
pub(super) fn streams_len(count: usize) -> u64 {
    if count == 0 { 0 } else { (PREFIX_LEN + STREAMS_HEAD_LEN + count * STREAM_LEN) as u64 }
}

/// Gives to `note` what a record, whose CRC was found right or which was written here, says of streams: their numbers.
pub(super) fn each_number(record: &[u8], mut note: impl FnMut(u64, u64)) {
    let Some(body) = record.get(PREFIX_LEN..) else { return };
    let Some(&[kind, family, ..]) = body.get(8..) else { return };
    let numbers = match (kind, family) {
        (STREAMS, _) => body.get(STREAMS_HEAD_LEN..),
        (kind, 4) if kind & NUMBERED != 0 => body.get(16..16 + STREAM_LEN),
        (kind, 6) if kind & NUMBERED != 0 => body.get(28..28 + STREAM_LEN),
        _ => None,
    };
    for numbers in numbers.unwrap_or_default().as_chunks::<STREAM_LEN>().0 {
        let [stream, number] = *numbers.as_chunks::<8>().0 else { continue };
        note(u64::from_le_bytes(stream), u64::from_le_bytes(number));
    }
}

/// Octets the record at the start of `octets` takes, if its length and CRC are right.
pub(super) fn check(octets: &[u8]) -> Result<usize, Parsed<'static>> {
    let Some((length, rest)) = octets.split_first_chunk::<4>() else {
        return Err(Parsed::Incomplete(PREFIX_LEN));
    };
    let body_len = u32::from_le_bytes(*length) as usize;
    if !(MIN_RECORD_LEN..=MAX_RECORD_LEN).contains(&body_len) {
        return Err(Parsed::Bad);
    }
    let total = PREFIX_LEN + body_len;
    let Some((crc, rest)) = rest.split_first_chunk::<4>() else { return Err(Parsed::Incomplete(total)) };
    let Some(body) = rest.get(..body_len) else { return Err(Parsed::Incomplete(total)) };
    let expected = crc32c([length, body]);
    if u32::from_le_bytes(*crc) == expected { Ok(total) } else { Err(Parsed::Bad) }
}

enum Body<'a> {
    Record(Record<&'a [u8]>),
    Streams,
}

fn read_body(body: &[u8]) -> Option<Body<'_>> {
    let (time, rest) = body.split_first_chunk::<8>()?;
    let (&[transport, family, port0, port1], rest) = rest.split_first_chunk::<4>()?;
    if transport == STREAMS {
        return Some(Body::Streams);
    }
    let (ip, hep) = match family {
        4 => rest.split_first_chunk::<4>().map(|(ip, hep)| (IpAddr::from(*ip), hep))?,
        6 => rest.split_first_chunk::<16>().map(|(ip, hep)| (IpAddr::from(*ip), hep))?,
        _ => return None,
    };
    let hep = if transport & NUMBERED == 0 { hep } else { hep.get(STREAM_LEN..)? };
    Some(Body::Record(Record {
        received_at_us: i64::from_le_bytes(*time),
        peer: SocketAddr::new(ip, u16::from_le_bytes([port0, port1])),
        transport: hep::Transport::from_code(transport & !NUMBERED)?,
        hep,
    }))
}

/// Gives every record of a group that was encoded here to `see`.
pub(super) fn each_record(mut group: &[u8], mut see: impl FnMut(&[u8])) {
    while let Some(length) = group.first_chunk::<4>() {
        let total = PREFIX_LEN + u32::from_le_bytes(*length) as usize;
        let Some((record, rest)) = group.split_at_checked(total) else { return };
        see(record);
        group = rest;
    }
}

/// Octets of the whole records at the start of `group`, as many as fit into `room`, and how many records that are. The
/// group was encoded here, so its lengths are right.
pub(super) fn whole_records(group: &[u8], room: u64) -> (usize, u64) {
    let (mut end, mut records) = (0, 0);
    while let Some(length) = group.get(end..).and_then(|rest| rest.first_chunk::<4>()) {
        let next = end + PREFIX_LEN + u32::from_le_bytes(*length) as usize;
        if next as u64 > room {
            break;
        }
        end = next;
        records += 1;
    }
    (end, records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(record: &Record) -> Vec<u8> {
        encode_numbered(record, None)
    }

    fn encode_numbered(record: &Record, sequence: Option<Sequence>) -> Vec<u8> {
        let mut octets = Vec::new();
        Head::new(&record.lend(), sequence).unwrap().append(&record.hep, &mut octets);
        octets
    }

    fn numbers(record: &[u8]) -> Vec<(u64, u64)> {
        let mut numbers = Vec::new();
        each_number(record, |stream, number| numbers.push((stream, number)));
        numbers
    }

    fn records() -> impl Strategy<Value = Record> {
        let transport = (0..hep::Transport::ALL.len()).prop_map(|at| hep::Transport::ALL[at]);
        let hep = proptest::collection::vec(any::<u8>(), 0..300);
        (any::<i64>(), any::<IpAddr>(), any::<u16>(), transport, hep).prop_map(
            |(received_at_us, ip, port, transport, hep)| Record {
                received_at_us,
                peer: SocketAddr::new(ip, port),
                transport,
                hep: hep.into(),
            },
        )
    }

    proptest! {
        #[test]
        fn record_read_is_the_one_written(
            record in records(),
            numbered in any::<Option<(u64, u64)>>(),
            rest in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let sequence = numbered.map(|(stream, number)| Sequence { stream, number, first: 1 });
            let octets = encode_numbered(&record, sequence);
            prop_assert_eq!(numbers(&octets), numbered.into_iter().collect::<Vec<_>>());
            let total = octets.len();
            let followed = [octets.clone(), rest].concat();
            prop_assert_eq!(parse(&followed), Parsed::Record(record.lend(), total));
            for end in 0..total {
                let incomplete = matches!(parse(&octets[..end]), Parsed::Incomplete(needed) if needed > end);
                prop_assert!(incomplete);
            }
        }

        #[test]
        fn record_with_any_bit_flipped_is_bad(record in records(), at in any::<prop::sample::Index>(), bit in 0..8u32) {
            let mut octets = encode(&record);
            let at = at.index(octets.len());
            octets[at] ^= 1u8 << bit;
            // A longer length may ask for octets that are not there; they will not make the CRC right either.
            prop_assert!(!matches!(parse(&octets), Parsed::Record(..)));
            octets.resize(octets.len() + 300, 0);
            prop_assert!(!matches!(parse(&octets), Parsed::Record(..)));
        }

        #[test]
        fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&octets);
            let _ = check_header(&octets, 1);
            let _ = numbers(&octets);
        }
    }

    #[test]
    fn streams_are_read_as_they_were_written_in_as_many_records_as_they_need() {
        assert_eq!((streams(&[], 1).len(), streams_len(0)), (0, 0));
        for count in [1, 3, 65_535, 65_536, 140_000] {
            let written: Vec<_> = (0..count).map(|n| (n, n * 7)).collect();
            let octets = streams(&written, 1);
            let (mut rest, mut read) = (&octets[..], Vec::new());
            while let Parsed::Streams(total) = parse(rest) {
                read.extend(numbers(&rest[..total]));
                rest = &rest[total..];
            }
            assert!(rest.is_empty());
            assert_eq!(read, written);
        }
        assert_eq!(streams(&[(1, 2), (3, 4)], 1).len() as u64, streams_len(2));
    }

    #[test]
    fn zeros_are_no_record() {
        assert_eq!(parse(&[0; 64]), Parsed::Bad);
    }

    #[test]
    fn record_longer_than_the_bound_is_not_encoded() {
        let mut record = Record {
            received_at_us: 0,
            peer: ([127, 0, 0, 1], 9060).into(),
            transport: hep::Transport::Udp,
            hep: vec![0; MAX_RECORD_LEN - 16].into(),
        };
        assert!(Head::new(&record.lend(), None).is_some());
        record.hep = vec![0; MAX_RECORD_LEN - 15].into();
        assert!(Head::new(&record.lend(), None).is_none());
    }

    #[test]
    fn header_of_another_segment_or_version_is_told_apart() {
        assert_eq!(check_header(&header(7), 7), HeaderIs::Good);
        assert_eq!(check_header(&header(7), 8), HeaderIs::Bad);
        assert_eq!(check_header(&header(7)[..23], 7), HeaderIs::Bad);
        assert_eq!(check_header(&header_of(1, 7), 7), HeaderIs::Good);
        assert_eq!(check_header(&header_of(3, 7), 7), HeaderIs::Later(3));
    }

    #[test]
    fn names_lead_to_numbers_and_back() {
        let path = path(Path::new("/spool"), 42);
        assert_eq!(number(path.file_name().unwrap().to_str().unwrap()), Some(42));
        for name in ["42.seg", "lock", "00000000000000000042.bad", "0000000000000000004x.seg"] {
            assert_eq!(number(name), None);
        }
    }
}
