//! Looks into segments without changing them: what waits, what a crash left, what is damaged.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::segment::{self, HEADER_LEN, HeaderIs, Parsed};
use super::{Record, SpoolError};

/// A segment as it is found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Segment {
    /// Its file.
    pub path: PathBuf,
    /// Its length, octets.
    pub bytes: u64,
    /// Whether its header is right.
    pub has_header: bool,
    /// Its records, in their order. Those that are whole are found also after damage.
    pub records: Vec<Record>,
    /// How many of them are numbered packets.
    pub numbered: usize,
    /// Streams, and the highest number of each, that were in the spool before this segment.
    pub streams: Vec<(u64, u64)>,
    /// Octets that are of no whole record: damage, or the end that a crash cut.
    pub skipped_bytes: u64,
}

/// The segment files of a spool, oldest first: `.seg`, and `.bad`, which were put aside.
///
/// # Errors
/// When the directory cannot be read.
pub fn segments(dir: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let entries = std::fs::read_dir(dir).map_err(SpoolError::io("list", dir))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(SpoolError::io("list", dir))?.path();
        if path.extension().is_some_and(|ending| ending == "seg" || ending == "bad") {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// Reads a segment, also one that is being written or is damaged.
///
/// # Errors
/// When the file cannot be read, or is of a later version.
pub fn inspect(path: &Path) -> Result<Segment, SpoolError> {
    let octets = std::fs::read(path).map_err(SpoolError::io("read", path))?;
    let number = path.file_stem().and_then(|stem| segment::number(&format!("{}.seg", stem.to_str()?)));
    let has_header = match segment::check_header(&octets, number.unwrap_or_default()) {
        HeaderIs::Good => true,
        HeaderIs::Bad => false,
        HeaderIs::Later(found) => return Err(SpoolError::Version { path: path.to_owned(), found }),
    };
    let mut records = Vec::new();
    let (mut streams, mut numbered) = (Vec::new(), 0);
    let mut skipped_bytes = 0;
    // A damaged header is as long as any.
    let mut rest = octets.get(HEADER_LEN as usize..).unwrap_or_default();
    while !rest.is_empty() {
        let taken = match segment::parse(rest) {
            Parsed::Record(record, taken) => {
                records.push(record.with(Bytes::copy_from_slice(record.hep)));
                segment::each_number(&rest[..taken], |_, _| numbered += 1);
                taken
            }
            Parsed::Streams(taken) => {
                segment::each_number(&rest[..taken], |stream, highest| streams.push((stream, highest)));
                taken
            }
            Parsed::Bad | Parsed::Incomplete(_) => {
                skipped_bytes += 1;
                1
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    let bytes = octets.len() as u64;
    Ok(Segment { path: path.to_owned(), bytes, has_header, records, numbered, streams, skipped_bytes })
}

impl Record {
    /// The packet as a stream can carry it: HEP3 as it is, HEP1 and HEP2 as HEP3, with the time of receipt where they
    /// have none; with this key in the place of the one that was taken out when it came, if any is given. `None` where it is
    /// no HEP, or there is no room for the key.
    #[must_use]
    pub fn for_stream(&self, key: Option<&[u8]>) -> Option<Vec<u8>> {
        let mut packet = hep::decode(&self.hep).ok()?;
        if packet.version == hep::Version::Hep3 && key.is_none() {
            return Some(self.hep.to_vec());
        }
        packet.version = hep::Version::Hep3;
        packet.auth_key = key.or(packet.auth_key);
        let received = || {
            Some(hep::Timestamp {
                seconds: u32::try_from(self.received_at_us / 1_000_000).ok()?,
                microseconds: u32::try_from(self.received_at_us % 1_000_000).ok()?,
            })
        };
        packet.time = packet.time.or_else(received);
        let mut bytes = Vec::new();
        hep::encode(&packet, &mut bytes).ok()?;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Spool, SpoolConfig};
    use super::*;

    fn record(n: u8) -> Record {
        Record {
            received_at_us: 1_700_000_000_123_456 + i64::from(n),
            peer: "192.0.2.1:9060".parse().expect("an address"),
            transport: hep::Transport::Udp,
            hep: vec![n; 100].into(),
        }
    }

    /// A segment of ten records.
    fn written(dir: &Path) -> PathBuf {
        let config = SpoolConfig { dir: dir.to_owned(), ..SpoolConfig::default() };
        let (writer, mut reader) = Spool::open(config, None).expect("a spool");
        let handle = writer.handle();
        for n in 0..10 {
            handle.offer(record(n)).expect("taken");
        }
        writer.close().expect("synced");
        let batch = reader.next_batch(99, 1 << 20, Duration::from_secs(5)).expect("records");
        assert_eq!(batch.records.len(), 10);
        let paths = segments(dir).expect("the directory");
        paths
            .into_iter()
            .find(|path| !inspect(path).expect("a segment").records.is_empty())
            .expect("one with records")
    }

    #[test]
    fn a_segment_is_read_whole_and_not_changed() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = written(dir.path());
        let before = std::fs::read(&path).expect("readable");
        let segment = inspect(&path).expect("a segment");
        assert_eq!(segment.records, (0..10).map(record).collect::<Vec<_>>());
        assert!(segment.has_header);
        assert_eq!((segment.skipped_bytes, segment.bytes), (0, before.len() as u64));
        assert_eq!(std::fs::read(&path).expect("readable"), before);
    }

    #[test]
    fn damage_costs_the_records_that_it_hits_and_no_others() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = written(dir.path());
        let whole = std::fs::read(&path).expect("readable");
        let length = (whole.len() - HEADER_LEN as usize) / 10;
        for n in 0..10 {
            for place in 0..length {
                let mut damaged = whole.clone();
                damaged[HEADER_LEN as usize + n * length + place] ^= 0x10;
                std::fs::write(&path, &damaged).expect("written");
                let segment = inspect(&path).expect("a segment");
                let left = (0..10).filter(|left| usize::from(*left) != n).map(record).collect::<Vec<_>>();
                assert_eq!(segment.records, left, "{n} {place}");
                assert_eq!(segment.skipped_bytes, length as u64);
            }
        }
        let mut cut = whole.clone();
        cut.truncate(whole.len() - 1);
        cut[3] = b'x';
        std::fs::write(&path, cut).expect("written");
        let segment = inspect(&path).expect("a segment");
        assert_eq!((segment.records.len(), segment.has_header), (9, false));
    }

    #[test]
    fn old_versions_of_hep_are_made_fit_for_a_stream() {
        let hep1 = [
            &[1, 16, 2, 17, 0x13, 0xc4, 0x13, 0xc4, 192, 0, 2, 1, 192, 0, 2, 2][..],
            b"OPTIONS sip:x SIP/2.0\r\n\r\n",
        ]
        .concat();
        let bytes = Record { hep: hep1.clone().into(), ..record(0) }.for_stream(None).expect("a packet");
        let packet = hep::decode(&bytes).expect("HEP3");
        assert_eq!(packet.version, hep::Version::Hep3);
        assert_eq!(packet.time, Some(hep::Timestamp { seconds: 1_700_000_000, microseconds: 123_456 }));
        assert_eq!(packet.payload, hep::Payload::Plain(b"OPTIONS sip:x SIP/2.0\r\n\r\n"));
        assert_eq!(record(1).for_stream(None), None);
        let bytes = Record { hep: hep1.into(), ..record(0) }.for_stream(Some(b"a key")).expect("a packet");
        assert_eq!(hep::decode(&bytes).expect("HEP3").auth_key, Some(&b"a key"[..]));
    }

    #[test]
    fn a_key_takes_the_place_of_the_one_that_was_taken_out() {
        let packet = hep::Packet {
            auth_key: Some(b"the old one"),
            time: Some(hep::Timestamp { seconds: 1_700_000_001, microseconds: 5 }),
            agent_id: Some(7),
            payload: hep::Payload::Plain(b"OPTIONS sip:x SIP/2.0\r\n\r\n"),
            ..hep::Packet::default()
        };
        let mut octets = Vec::new();
        hep::encode(&packet, &mut octets).expect("a packet");
        hep::erase_key(&mut octets);
        let kept = Record { hep: octets.clone().into(), ..record(0) };
        assert_eq!(kept.for_stream(None), Some(octets));
        let sent = kept.for_stream(Some(b"another, longer one")).expect("a packet");
        let expected = hep::Packet { auth_key: Some(b"another, longer one"), ..packet };
        assert_eq!(hep::decode(&sent), Ok(expected));
        let long = hep::Packet { payload: hep::Payload::Plain(&[b'x'; 65_500]), ..hep::Packet::default() };
        let mut octets = Vec::new();
        hep::encode(&long, &mut octets).expect("a packet");
        assert_eq!(Record { hep: octets.into(), ..record(0) }.for_stream(Some(&[b'k'; 64])), None);
    }
}
