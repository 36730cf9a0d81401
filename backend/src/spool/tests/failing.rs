//! A disk that fails while the spool is written.

use super::*;

/// A disk whose writes or syncs fail while told so, and whose syncs can be held back.
#[derive(Clone, Default)]
pub(super) struct FailingDisk {
    appends_fail: Arc<AtomicBool>,
    syncs_fail: Arc<AtomicBool>,
    pub(super) syncs_hang: Arc<AtomicBool>,
    failures: Arc<AtomicU32>,
}

impl FailingDisk {
    fn fail(&self, whether: &AtomicBool) -> io::Result<()> {
        if whether.load(Ordering::SeqCst) {
            self.failures.fetch_add(1, Ordering::SeqCst);
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

struct FailingFile {
    disk: FailingDisk,
    file: Box<dyn SegmentFile>,
}

impl Disk for FailingDisk {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(FailingFile { disk: self.clone(), file: RealDisk.create(path)? }))
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
}

impl SegmentFile for FailingFile {
    fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        if let Err(error) = self.disk.fail(&self.disk.appends_fail) {
            // As a full disk does: a part is written.
            self.file.append(&octets[..octets.len() / 2])?;
            return Err(error);
        }
        self.file.append(octets)
    }

    fn sync(&mut self) -> io::Result<()> {
        while self.disk.syncs_hang.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.disk.fail(&self.disk.syncs_fail)?;
        self.file.sync()
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.file.cut(len)
    }
}

#[test]
fn reader_never_sees_a_record_that_is_not_synced() {
    let dir = TempDir::new().unwrap();
    let disk = FailingDisk::default();
    disk.syncs_hang.store(true, Ordering::SeqCst);
    let (writer, mut reader) = Spool::open_on(disk.clone(), config(&dir), None).unwrap();
    let handle = writer.handle();
    handle.offer(record(0)).unwrap();
    let segment = path(&dir.path().join("spool"), 1);
    wait_until("write", || segment.metadata().is_ok_and(|metadata| metadata.len() > HEADER_LEN));
    let durable = handle.durable();
    assert!(reader.next_batch(10, 1000, Duration::from_millis(20)).unwrap().records.is_empty());
    assert_eq!(handle.durable(), durable);

    disk.syncs_hang.store(false, Ordering::SeqCst);
    let batch = reader.next_batch(10, 1000, LONG).unwrap();
    assert_eq!(batch.records, [record(0)]);
    assert_eq!(handle.durable(), batch.end);
}

#[test]
fn disk_that_fails_loses_nothing_that_was_taken() {
    for sync_or_append in [true, false] {
        let dir = TempDir::new().unwrap();
        let disk = FailingDisk::default();
        let switch = if sync_or_append { &disk.syncs_fail } else { &disk.appends_fail };
        let config = config(&dir);
        let (writer, mut reader) = Spool::open_on(disk.clone(), config.clone(), None).unwrap();
        let (handle, stats) = (writer.handle(), writer.stats());
        handle.offer(record(0)).unwrap();
        wait_until("sync", || stats.snapshot().records_durable == 1);

        switch.store(true, Ordering::SeqCst);
        handle.offer(record(1)).unwrap();
        wait_until("third failure", || disk.failures.load(Ordering::SeqCst) >= 3);
        handle.offer(record(2)).unwrap();
        assert!(!stats.snapshot().healthy);
        assert_eq!(stats.snapshot().records_durable, 1);
        assert_eq!(drain(&mut reader), [record(0)]);

        switch.store(false, Ordering::SeqCst);
        wait_until("recovery", || stats.snapshot().records_durable == 3);
        assert!(stats.snapshot().healthy);
        assert_eq!(drain(&mut reader), records(1..3));
        writer.close().unwrap();
        drop((reader, handle));
        let (all, reopened) = reopen(&config, None);
        assert_eq!((all, reopened.cut_bytes), (records(0..3), 0));
    }
}

#[test]
fn failing_disk_refuses_when_memory_is_full_and_says_why() {
    let dir = TempDir::new().unwrap();
    let disk = FailingDisk::default();
    disk.appends_fail.store(true, Ordering::SeqCst);
    let config = SpoolConfig { memory_bytes: 1000, ..config(&dir) };
    let (writer, mut reader) = Spool::open_on(disk.clone(), config, None).unwrap();
    let (handle, stats) = (writer.handle(), writer.stats());
    handle.offer(record(0)).unwrap();
    wait_until("failure", || !stats.snapshot().healthy);
    let mut taken = 1;
    while handle.offer(record(taken)).is_ok() {
        taken += 1;
    }
    assert_eq!(stats.snapshot().refused_disk_error, 1);

    disk.appends_fail.store(false, Ordering::SeqCst);
    writer.close().unwrap();
    assert_eq!(drain(&mut reader), records(0..taken));
}

#[test]
fn closing_on_a_failing_disk_says_what_is_lost() {
    let dir = TempDir::new().unwrap();
    let disk = FailingDisk::default();
    disk.syncs_fail.store(true, Ordering::SeqCst);
    let (writer, _reader) = Spool::open_on(disk, config(&dir), None).unwrap();
    writer.handle().offer(record(0)).unwrap();
    writer.handle().offer(record(1)).unwrap();
    let lost = writer.close().unwrap_err();
    assert!(matches!(lost, SpoolError::Undrained { records: 2, .. }), "{lost}");
}
