//! Numbered packets: which of them are known, over restarts and crashes.

use super::failing::FailingDisk;
use super::*;

/// The packet with this number of a stream.
pub(super) fn numbered(stream: u64, number: u64) -> Option<hep::Sequence> {
    Some(hep::Sequence { stream, number, first: 1 })
}

/// Takes a record as this numbered packet.
pub(super) fn take_as(handle: &SpoolHandle, record: &Record, sequence: Option<hep::Sequence>) -> Taken {
    handle.taking(|taking| taking.take(&record.lend(), sequence)).unwrap()
}

/// Takes the record with this number as the packet with this number of stream 7, over TCP.
fn take(handle: &SpoolHandle, number: usize) -> Taken {
    let record = Record { transport: hep::Transport::Tcp, ..record(number) };
    take_as(handle, &record, numbered(7, number as u64))
}

#[test]
fn numbered_packet_that_comes_again_is_not_taken_and_waits_for_the_first_to_be_synced() {
    let dir = TempDir::new().unwrap();
    let disk = FailingDisk::default();
    disk.syncs_hang.store(true, Ordering::SeqCst);
    let (writer, mut reader) = Spool::open_on(disk.clone(), config(&dir), None).unwrap();
    let handle = writer.handle();
    let durable = handle.durable_records();
    let first = take(&handle, 1);
    assert_eq!(first, Taken { ticket: 1, standing: Standing::New { missing: 0 } });
    assert_eq!(take(&handle, 1), Taken { ticket: 1, standing: Standing::Again });
    assert_eq!(take(&handle, 4), Taken { ticket: 2, standing: Standing::New { missing: 2 } });
    assert_eq!(
        handle.taking(|taking| taking.pass(numbered(7, 5).unwrap(), false)).ticket,
        2,
        "it is not in the spool"
    );
    assert_eq!(take(&handle, 5), Taken { ticket: 2, standing: Standing::Again });
    assert_eq!(*durable.borrow(), 0);

    disk.syncs_hang.store(false, Ordering::SeqCst);
    wait_until("sync", || *durable.borrow() == 2);
    writer.close().unwrap();
    assert_eq!(drain(&mut reader).len(), 2);
}

#[test]
fn what_was_taken_is_known_after_every_restart_also_when_the_store_has_all_of_it() {
    let dir = TempDir::new().unwrap();
    let config = SpoolConfig { segment_bytes: 1000, ..config(&dir) };
    let mut checkpoint = None;
    let mut next = 1;
    for run in 0..6 {
        let (writer, mut reader) = Spool::open(config.clone(), checkpoint).unwrap();
        let handle = writer.handle();
        for number in 1..next {
            assert_eq!(take(&handle, number).standing, Standing::Again, "{number} in run {run}");
        }
        // Some runs take nothing, and some no more than a segment has room for.
        let until = next + [40, 0, 3, 0, 0, 40][run];
        for number in next..until {
            assert_eq!(take(&handle, number).standing, Standing::New { missing: 0 }, "{number} in run {run}");
        }
        next = until;
        handle.offer(record(0)).unwrap();
        wait_until("sync", || handle.durable_records().borrow().to_owned() == stats_taken(&handle));
        let (mut read, mut end) = (0, checkpoint.unwrap_or_default());
        while let batch = reader.next_batch(7, 1000, Duration::ZERO).unwrap()
            && !batch.records.is_empty()
        {
            read += batch.records.len();
            end = batch.end;
        }
        assert_eq!(read as u64, stats_taken(&handle));
        reader.release(end).unwrap();
        assert_eq!(segments(&config.dir).len(), 1, "only what tells of streams is left");
        checkpoint = Some(end);
        writer.close().unwrap();
    }
    // A crash between two writes leaves a segment that says nothing.
    std::fs::write(path(&config.dir, checkpoint.unwrap().segment + 1), b"SLSPOOL").unwrap();
    let (writer, _reader) = Spool::open(config, checkpoint).unwrap();
    assert_eq!(take(&writer.handle(), next - 1).standing, Standing::Again);
    assert_eq!(take(&writer.handle(), next).standing, Standing::New { missing: 0 });
}

fn stats_taken(handle: &SpoolHandle) -> u64 {
    handle.stats().snapshot().records_offered
}

#[test]
fn wherever_a_crash_cuts_the_spool_what_is_left_is_known_and_the_rest_is_taken_again() {
    let dir = TempDir::new().unwrap();
    let config = SpoolConfig { segment_bytes: 700, ..config(&dir) };
    let (writer, reader) = Spool::open(config.clone(), None).unwrap();
    for number in 1..=20 {
        take(&writer.handle(), number);
    }
    writer.close().unwrap();
    drop(reader);
    let paths = segments(&config.dir);
    let last = paths.last().unwrap();
    let whole = std::fs::read(last).unwrap();
    for len in 0..=whole.len() {
        std::fs::write(last, &whole[..len]).unwrap();
        let left = paths.iter().filter(|path| path.exists());
        let left: usize = left.map(|path| inspect::inspect(path).unwrap().records.len()).sum();
        let (writer, _reader) = Spool::open(config.clone(), None).unwrap();
        let known = (1..=20).filter(|number| {
            let record = Record { transport: hep::Transport::Tcp, ..record(*number) };
            let again = take_as(&writer.handle(), &record, numbered(7, *number as u64));
            again.standing == Standing::Again
        });
        assert_eq!(known.count(), left, "cut to {len} of {}", whole.len());
        drop(writer);
        for path in segments(&config.dir).iter().filter(|path| !paths.contains(path)) {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn more_streams_than_are_kept_push_out_the_oldest_and_are_counted() {
    let dir = TempDir::new().unwrap();
    let (writer, reader) = Spool::open(config(&dir), None).unwrap();
    let handle = writer.handle();
    for stream in 0..5000 {
        take_as(&handle, &record(1), numbered(stream, 1));
    }
    let stats = handle.stats().snapshot();
    assert_eq!(stats.streams + stats.streams_forgotten, 5000);
    assert!(stats.streams_forgotten > 0 && stats.streams <= 4096, "{stats:?}");
    writer.close().unwrap();
    drop((handle, reader));
    let (writer, _reader) = Spool::open(config(&dir), None).unwrap();
    assert_eq!(take_as(&writer.handle(), &record(1), numbered(4999, 1)).standing, Standing::Again);
}
