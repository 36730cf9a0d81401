//! A spool that was left in any state: opening it fails clearly or recovers, what it yields was written by somebody who knew
//! the CRC, inspecting and recovering agree, and after that it takes records and has them at the next opening.
#![no_main]

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use libfuzzer_sys::{arbitrary, fuzz_target};
use siplens_backend::spool::{Position, Record, Spool, SpoolConfig, SpoolError, inspect, segment_of};

#[derive(arbitrary::Arbitrary, Debug)]
struct Input<'a> {
    segments: Vec<Segment<'a>>,
    checkpoint: Option<(u8, u16)>,
}

#[derive(arbitrary::Arbitrary, Debug)]
struct Segment<'a> {
    /// Near each other, or anywhere.
    number: Result<u8, u64>,
    /// Instead of its own, or none.
    header: Option<&'a [u8]>,
    parts: Vec<Part<'a>>,
    /// Octets that are missing at the end.
    cut: u16,
    flipped: Option<u16>,
}

#[derive(arbitrary::Arbitrary, Debug)]
enum Part<'a> {
    Record {
        at_us: i64,
        ip: IpAddr,
        port: u16,
        transport: u8,
        packet: &'a [u8],
    },
    /// A record's body, whatever it says, with the right length and CRC.
    Body(&'a [u8]),
    Raw(&'a [u8]),
    Zeros(u8),
}

impl Segment<'_> {
    fn number(&self) -> u64 {
        self.number.map_or_else(|any| any, u64::from)
    }

    /// Its octets, and the records in them that somebody wrote.
    fn octets(&self) -> (Vec<u8>, Vec<Record>) {
        let (_, mut octets) = segment_of(self.number(), &[]);
        if let Some(header) = self.header {
            octets = header.to_vec();
        }
        let mut records = Vec::new();
        for part in &self.parts {
            match part {
                Part::Record { at_us, ip, port, transport, packet } => {
                    let record = Record {
                        received_at_us: *at_us,
                        peer: SocketAddr::new(*ip, *port),
                        transport: hep::Transport::from_code(transport % 6 + 1).expect("one of six"),
                        hep: packet.to_vec().into(),
                    };
                    let (_, whole) = segment_of(0, &[&record]);
                    octets.extend_from_slice(&whole[24..]);
                    records.push(record);
                }
                Part::Body(body) => {
                    let length = (body.len() as u32).to_le_bytes();
                    let crc = crc32c::crc32c_append(crc32c::crc32c(&length), body);
                    octets.extend_from_slice(&[&length[..], &crc.to_le_bytes(), body].concat());
                }
                Part::Raw(raw) => octets.extend_from_slice(raw),
                Part::Zeros(count) => octets.extend(std::iter::repeat_n(0, usize::from(*count))),
            }
        }
        octets.truncate(octets.len().saturating_sub(usize::from(self.cut) % 64));
        if let Some(place) = self.flipped
            && let Some(octet) = octets.get_mut(usize::from(place))
        {
            *octet ^= 1;
        }
        (octets, records)
    }

    /// Whether nobody but the makers of [`Part::Record`] knew a CRC.
    fn is_honest(&self) -> bool {
        self.parts.iter().all(|part| !matches!(part, Part::Body(_)))
    }
}

/// All that can be read now.
fn read(dir: &Path, checkpoint: Option<Position>, added: Option<&Record>) -> Result<Vec<Record>, SpoolError> {
    let config = SpoolConfig { dir: dir.into(), sync_interval: Duration::ZERO, ..SpoolConfig::default() };
    let (writer, mut reader) = Spool::open(config, checkpoint)?;
    if let Some(record) = added {
        writer.handle().offer(record.clone()).expect("room for one");
    }
    writer.close().expect("the disk works");
    let mut records = Vec::new();
    loop {
        let batch = reader.next_batch(1000, 1 << 20, Duration::ZERO)?;
        if batch.records.is_empty() {
            reader.release(batch.end)?;
            return Ok(records);
        }
        records.extend(batch.records);
    }
}

fuzz_target!(|input: Input| {
    let dir = tempfile::tempdir().expect("a folder");
    let mut segments: Vec<_> = input.segments.iter().take(4).collect();
    segments.sort_by_key(|segment| segment.number());
    segments.dedup_by_key(|segment| segment.number());
    let mut written = Vec::new();
    for segment in &segments {
        let (octets, records) = segment.octets();
        let path = dir.path().join(segment_of(segment.number(), &[]).0);
        std::fs::write(&path, octets).expect("written");
        written.extend(records);
        match inspect::inspect(&path) {
            Ok(found) if segment.is_honest() => {
                assert!(found.records.iter().all(|record| written.contains(record)));
            }
            Ok(_) | Err(SpoolError::Version { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let honest = segments.iter().all(|segment| segment.is_honest());
    let checkpoint =
        input.checkpoint.map(|(segment, offset)| Position { segment: segment.into(), offset: offset.into() });
    let last = segments.last().map_or(0, |segment| segment.number());
    let added = Record {
        received_at_us: 1,
        peer: ([192, 0, 2, 1], 1).into(),
        transport: hep::Transport::Tcp,
        hep: b"added"[..].into(),
    };
    match read(dir.path(), checkpoint, Some(&added)) {
        Ok(mut records) => {
            assert_eq!(records.pop().as_ref(), Some(&added), "what is taken now comes last");
            if honest {
                assert!(records.iter().all(|record| written.contains(record)));
            }
            // Once more, by a process that knows nothing of a checkpoint: nothing else than before.
            let again = read(dir.path(), None, None).expect("what was recovered can be opened");
            assert!(!honest || again.iter().all(|record| *record == added || written.contains(record)));
            assert_eq!(again.last(), Some(&added));
        }
        Err(SpoolError::Version { .. }) => {}
        Err(SpoolError::Number { found, .. }) => assert_eq!(found, last),
        Err(error) => panic!("{error}"),
    }
});
