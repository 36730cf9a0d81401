//! What the writer does to a disk, so that tests can put a failing one in its place.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Makes segment files.
pub(super) trait Disk: Send + 'static {
    /// Makes an empty file, also where one stands already, such that it outlives a crash once it is synced.
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;

    /// Removes a file that no durable record is in.
    fn remove(&mut self, path: &Path) -> io::Result<()>;
}

/// A segment that is being written.
pub(super) trait SegmentFile: Send {
    /// Appends.
    fn append(&mut self, octets: &[u8]) -> io::Result<()>;

    /// Returns when everything appended is on disk.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file to so many octets.
    fn cut(&mut self, len: u64) -> io::Result<()>;
}

/// The operating system's file system.
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        // The directory's entry has to be synced by itself.
        if let Some(dir) = path.parent() {
            File::open(dir)?.sync_all()?;
        }
        Ok(Box::new(file))
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}

impl SegmentFile for File {
    fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        self.write_all(octets)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}
