//! The spool's promises, tried on files, and on a disk that fails.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use self::streams::{numbered, take_as};
use super::disk::{Disk, RealDisk, SegmentFile};
use super::segment::{HEADER_LEN, MAX_RECORD_LEN, path};
use super::*;

mod damage;
mod failing;
mod streams;

/// Long enough for whatever is waited for on a busy machine.
const LONG: Duration = Duration::from_secs(20);

fn config(dir: &TempDir) -> SpoolConfig {
    SpoolConfig {
        dir: dir.path().join("spool"),
        sync_interval: Duration::from_millis(1),
        ..SpoolConfig::default()
    }
}

/// The record with this number; even ones came over UDP and IPv4, odd ones over TCP and IPv6.
fn record(number: usize) -> Record {
    let (peer, transport) = match number % 2 {
        0 => (([127, 0, 0, 1], 9060).into(), hep::Transport::Udp),
        _ => (([0, 0, 0, 0, 0, 0, 0, 1], 9061).into(), hep::Transport::Tcp),
    };
    let hep = format!("HEP3 packet {number} {}", "x".repeat(number % 50)).into_bytes().into();
    Record { received_at_us: 1_700_000_000_000_000 + number as i64, peer, transport, hep }
}

fn records(numbers: std::ops::Range<usize>) -> Vec<Record> {
    numbers.map(record).collect()
}

/// Writes records and closes: what a run leaves behind.
fn fill(config: &SpoolConfig, numbers: std::ops::Range<usize>) {
    let (writer, _reader) = Spool::open(config.clone(), None).unwrap();
    for record in records(numbers) {
        writer.handle().offer(record).unwrap();
    }
    writer.close().unwrap();
}

/// All records there are, in batches of a few.
fn drain(reader: &mut SpoolReader) -> Vec<Record> {
    let mut all = Vec::new();
    loop {
        let batch = reader.next_batch(7, 1000, Duration::ZERO).unwrap();
        if batch.records.is_empty() {
            return all;
        }
        all.extend(batch.records);
    }
}

/// Opens, reads everything, closes.
fn reopen(config: &SpoolConfig, checkpoint: Option<Position>) -> (Vec<Record>, SpoolSnapshot) {
    let (writer, mut reader) = Spool::open(config.clone(), checkpoint).unwrap();
    let all = drain(&mut reader);
    let stats = writer.stats().snapshot();
    writer.close().unwrap();
    (all, stats)
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LONG, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

#[test]
fn records_come_out_as_they_went_in_and_again_after_each_reopening() {
    let dir = TempDir::new().unwrap();
    let config = SpoolConfig { segment_bytes: 2000, ..config(&dir) };
    fill(&config, 0..100);
    assert!(segments(&config.dir).len() > 3, "several segments");
    for _ in 0..2 {
        let (all, stats) = reopen(&config, None);
        assert_eq!(all, records(0..100));
        assert_eq!((stats.cut_bytes, stats.bad_records), (0, 0));
    }
}

#[test]
fn records_of_a_later_run_follow_those_of_an_earlier_one() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    fill(&config, 0..10);
    fill(&config, 10..20);
    assert_eq!(reopen(&config, None).0, records(0..20));
}

#[test]
fn reader_waits_for_a_record_and_no_longer_than_told() {
    let dir = TempDir::new().unwrap();
    let (writer, mut reader) = Spool::open(config(&dir), None).unwrap();
    let begun = Instant::now();
    let empty = reader.next_batch(10, 1000, Duration::from_millis(20)).unwrap();
    assert!(empty.records.is_empty() && begun.elapsed() >= Duration::from_millis(20));

    let handle = writer.handle();
    let offering = std::thread::spawn(move || handle.offer(record(1)));
    assert_eq!(reader.next_batch(10, 1000, LONG).unwrap().records, [record(1)]);
    offering.join().unwrap().unwrap();
}

#[test]
fn batch_keeps_its_bounds_but_holds_one_record_at_least() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    fill(&config, 0..10);
    let (_writer, mut reader) = Spool::open(config, None).unwrap();
    let mut next = |records, bytes| reader.next_batch(records, bytes, Duration::ZERO).unwrap().records.len();
    assert_eq!(next(3, usize::MAX), 3);
    assert_eq!(next(usize::MAX, 0), 1);
    let two = record(4).hep.len() + record(5).hep.len();
    assert_eq!(next(usize::MAX, two), 2);
    assert_eq!(next(usize::MAX, usize::MAX), 4);
}

#[test]
fn records_that_are_held_stay_what_they_are_while_memory_of_others_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir);
    let long = |number: usize| Record { hep: vec![number as u8; 200_000].into(), ..record(number) };
    let (writer, mut reader) = Spool::open(config, None).unwrap();
    (0..120).for_each(|number| writer.handle().offer(long(number)).unwrap());
    writer.close().unwrap();
    // Each batch is of several pieces. Of the first, one record is held on; of the second, all.
    let mut held = Vec::new();
    let mut begin = 0;
    while let batch = reader.next_batch(usize::MAX, 4 << 20, Duration::ZERO).unwrap()
        && !batch.records.is_empty()
    {
        let numbers = begin..begin + batch.records.len();
        let expected: Vec<_> = numbers.clone().map(long).collect();
        assert!(batch.records == expected, "{numbers:?}");
        begin = numbers.end;
        let count = if held.is_empty() { 1 } else { usize::MAX };
        if held.len() <= 1 {
            held.extend(numbers.zip(batch.records).take(count));
        }
    }
    assert_eq!(begin, 120);
    assert!(held.len() > 10 && held.into_iter().all(|(number, record)| record == long(number)));
}

#[test]
fn longest_record_passes_even_through_smaller_segments() {
    let dir = TempDir::new().unwrap();
    let config = SpoolConfig { segment_bytes: 1000, ..config(&dir) };
    let long = Record { hep: vec![7; MAX_RECORD_LEN - 28].into(), ..record(1) };
    let (writer, mut reader) = Spool::open(config, None).unwrap();
    for record in [record(0), long.clone(), record(2), long.clone(), long.clone()] {
        writer.handle().offer(record).unwrap();
    }
    writer.close().unwrap();
    assert_eq!(drain(&mut reader), [record(0), long.clone(), record(2), long.clone(), long]);
}

#[test]
fn directory_in_use_is_refused() {
    let dir = TempDir::new().unwrap();
    let opened = Spool::open(config(&dir), None).unwrap();
    assert!(matches!(Spool::open(config(&dir), None), Err(SpoolError::InUse { .. })));
    drop(opened);
    assert!(Spool::open(config(&dir), None).is_ok());
}

#[test]
fn reader_begins_at_the_checkpoint_and_segments_before_it_are_gone() {
    let dir = TempDir::new().unwrap();
    let config = SpoolConfig { segment_bytes: 1000, ..config(&dir) };
    fill(&config, 0..60);
    let all = segments(&config.dir).len();
    let (writer, mut reader) = Spool::open(config.clone(), None).unwrap();
    let (mut read, mut checkpoint) = (0, Position::default());
    while read < 30 {
        let batch = reader.next_batch(1, 1000, Duration::ZERO).unwrap();
        read += batch.records.len();
        checkpoint = batch.end;
    }
    drop((writer, reader));

    assert_eq!(reopen(&config, Some(checkpoint)).0, records(30..60));
    assert!(segments(&config.dir).len() < all);
    assert_eq!(segments(&config.dir)[0], path(&config.dir, checkpoint.segment));
}

#[test]
fn segment_numbers_are_never_used_again() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    let mut checkpoint = None;
    for run in 0..3 {
        let (writer, mut reader) = Spool::open(config.clone(), checkpoint).unwrap();
        assert!(drain(&mut reader).is_empty(), "the store has all of run {run}");
        writer.handle().offer(record(run)).unwrap();
        let batch = reader.next_batch(10, 1000, LONG).unwrap();
        assert_eq!(batch.records, [record(run)]);
        assert!(Some(batch.end) > checkpoint);
        checkpoint = Some(batch.end);
        writer.close().unwrap();
        // Even with nothing left, as after a new disk.
        std::fs::remove_dir_all(&config.dir).unwrap();
    }
}

#[test]
fn full_spool_refuses_and_counts_until_segments_are_released() {
    let dir = TempDir::new().unwrap();
    let config = SpoolConfig { max_bytes: 4000, segment_bytes: 1000, ..config(&dir) };
    let (writer, mut reader) = Spool::open(config.clone(), None).unwrap();
    let (handle, stats) = (writer.handle(), writer.stats());
    let mut taken = 0;
    // What is in memory needs more room than it will on disk, so that only a full disk refuses for good.
    let mut fill = || {
        loop {
            let before = taken;
            while handle.offer(record(taken)).is_ok() {
                taken += 1;
            }
            wait_until("sync", || stats.snapshot().records_durable == taken as u64);
            if taken == before {
                return taken;
            }
        }
    };
    let first = fill();
    let full = stats.snapshot();
    assert!(full.refused >= 2 && full.refused == full.refused_full, "{full:?}");
    assert!(full.disk_bytes <= config.max_bytes && full.disk_bytes > 3500, "{full:?}");
    let on_disk = segments(&config.dir).iter().map(|path| path.metadata().unwrap().len()).sum::<u64>();
    assert_eq!(full.disk_bytes, on_disk);

    // Reading alone makes no room; releasing does.
    let batch = reader.next_batch(usize::MAX, usize::MAX, LONG).unwrap();
    assert_eq!(handle.offer(record(0)), Err(Refused::Full));
    assert_eq!(stats.snapshot().refused, full.refused + 1);
    reader.release(batch.end).unwrap();
    assert!(!path(&config.dir, batch.end.segment).exists());
    let released = stats.snapshot();
    assert!(released.disk_bytes < full.disk_bytes && released.oldest > full.oldest);
    let second = fill();
    assert!(second > first);
    writer.close().unwrap();
    let rest = [batch.records, drain(&mut reader)].concat();
    assert_eq!(rest, records(0..second), "whatever was taken comes out");
}

#[test]
fn whole_segments_before_the_release_are_deleted_and_no_more() {
    let dir = TempDir::new().unwrap();
    let config = SpoolConfig { segment_bytes: 1000, ..config(&dir) };
    fill(&config, 0..60);
    let (_writer, mut reader) = Spool::open(config.clone(), None).unwrap();
    let before = segments(&config.dir);
    reader.release(Position { segment: 2, offset: HEADER_LEN }).unwrap();
    assert_eq!(segments(&config.dir), before[1..]);
    let end_of_second = before[1].metadata().unwrap().len();
    reader.release(Position { segment: 2, offset: end_of_second }).unwrap();
    assert_eq!(segments(&config.dir), before[2..]);
}

#[test]
fn record_longer_than_the_bound_is_refused() {
    let dir = TempDir::new().unwrap();
    let (writer, _reader) = Spool::open(config(&dir), None).unwrap();
    let long = Record { hep: vec![0; MAX_RECORD_LEN].into(), ..record(0) };
    assert_eq!(writer.handle().offer(long), Err(Refused::Full));
}

#[test]
fn closed_spool_has_synced_what_it_took_and_takes_no_more() {
    let dir = TempDir::new().unwrap();
    let config = SpoolConfig { sync_interval: Duration::from_secs(3600), ..config(&dir) };
    let (writer, mut reader) = Spool::open(config, None).unwrap();
    let handle = writer.handle();
    handle.offer(record(0)).unwrap();
    writer.close().unwrap();
    assert_eq!(handle.offer(record(1)), Err(Refused::Closed));
    assert_eq!(drain(&mut reader), [record(0)]);
}

#[test]
fn several_threads_offer_and_all_of_theirs_comes_out_in_their_order() {
    let dir = TempDir::new().unwrap();
    let (writer, mut reader) = Spool::open(config(&dir), None).unwrap();
    let offering: Vec<_> = (0..4)
        .map(|thread| {
            let handle = writer.handle();
            std::thread::spawn(move || {
                for number in 0..500 {
                    handle.offer(record(thread * 1000 + number)).unwrap();
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    while all.len() < 2000 {
        let batch = reader.next_batch(100, usize::MAX, LONG).unwrap();
        assert!(!batch.records.is_empty());
        all.extend(batch.records);
    }
    for (thread, offering) in offering.into_iter().enumerate() {
        offering.join().unwrap();
        let of_thread = |record: &&Record| record.received_at_us as usize % 1_000_000 / 1000 == thread;
        let numbers = thread * 1000..thread * 1000 + 500;
        assert!(all.iter().filter(of_thread).eq(&records(numbers)));
    }
}

#[test]
fn segments_of_every_version_still_load() {
    for version in [1, 2] {
        let dir = TempDir::new().unwrap();
        let config = config(&dir);
        std::fs::create_dir_all(&config.dir).unwrap();
        let fixture =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/formats/spool-v{version}.seg"));
        std::fs::copy(fixture, path(&config.dir, 1)).unwrap();
        let inspected = inspect::inspect(&path(&config.dir, 1)).unwrap();
        assert_eq!(inspected.streams, [vec![], vec![(3, 1 << 40), (7, 99)]][version - 1]);
        let (all, stats) = reopen(&config, None);
        assert_eq!(all, records(0..8));
        assert_eq!((stats.cut_bytes, stats.streams), (0, [0, 2][version - 1]));
    }
}

/// A change of what is written is a new version, with a fixture of its own.
#[test]
fn a_segment_is_written_as_its_version_says_octet_for_octet() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    let (writer, reader) = Spool::open(config.clone(), None).unwrap();
    take_as(&writer.handle(), &record(0), numbered(3, 1 << 40));
    take_as(&writer.handle(), &record(1), numbered(7, 99));
    writer.close().unwrap();
    drop(reader);
    let (writer, _reader) = Spool::open(config.clone(), None).unwrap();
    for number in 0..8 {
        let sequence = numbered(7, 100 + number as u64).filter(|_| number % 3 == 0);
        take_as(&writer.handle(), &record(number), sequence);
    }
    writer.close().unwrap();
    let mut octets = std::fs::read(path(&config.dir, 2)).unwrap();
    octets[..HEADER_LEN as usize].copy_from_slice(&segment::header(1));
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/spool-v2.seg");
    let mut expected = std::fs::read(fixture).unwrap();
    // The snapshot of streams has the time at which it was written, and so another CRC.
    let time_and_crc = HEADER_LEN as usize + 4..HEADER_LEN as usize + 16;
    for octets in [&mut octets, &mut expected] {
        octets[time_and_crc.clone()].fill(0);
    }
    assert_eq!(octets, expected);
}
