//! What makes a flush to several servers happen once: a small file beside the spool.
//!
//! It says how far the spool is stored, under which number the next flush goes, and which flushes are void. A flush
//! counts as soon as the file says that it does. One that was under way when the process ended does not count, whatever
//! of it reached the servers: the next start makes it void, tells the servers, and stores its messages again.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::spool::Position;

const FILE: &str = "clickhouse.json";
const NEW_FILE: &str = "clickhouse.json.new";
const FORMAT: u32 = 1;

/// The mark that all rows of a flush carry.
pub type FlushMark = u64;

/// The file's content.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Content {
    format: u32,
    /// Drawn at each start; makes marks that no other process makes.
    run: Uuid,
    /// How many flushes of this run count.
    counted: u64,
    segment: Option<u64>,
    offset: u64,
    void: Vec<Void>,
}

/// A flush that does not count.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Void {
    /// Its mark.
    pub mark: FlushMark,
    /// The shards that know.
    pub told: Vec<String>,
}

/// The file.
#[derive(Debug)]
pub struct Ledger {
    dir: Option<PathBuf>,
    content: Content,
}

impl Ledger {
    /// Reads the file in this folder, or begins one, for a new run: what the run before had under way is void.
    ///
    /// # Errors
    /// When it cannot be read or written, or is damaged. It is never begun anew in place of one that is there.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(FILE);
        let content = match fs::read(&path) {
            Ok(text) => Content::read(&text)?.next_run(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Content::new(),
            Err(error) => return Err(error),
        };
        let ledger = Self { dir: Some(dir.to_owned()), content };
        ledger.save(&ledger.content)?;
        Ok(ledger)
    }

    /// One that is nowhere, for a store that is only read.
    pub fn none() -> Self {
        Self { dir: None, content: Content::new() }
    }

    /// How far the spool is stored.
    pub fn checkpoint(&self) -> Option<Position> {
        Some(Position { segment: self.content.segment?, offset: self.content.offset })
    }

    /// The mark of the flush that is under way.
    pub fn mark(&self) -> FlushMark {
        self.content.mark()
    }

    /// The flush that is under way counts: the spool is stored up to here.
    ///
    /// # Errors
    /// When the file cannot be written; then the flush does not count.
    pub fn count(&mut self, end: Position) -> io::Result<()> {
        let mut content = self.content.clone();
        content.counted += 1;
        content.segment = Some(end.segment);
        content.offset = end.offset;
        self.save(&content)?;
        self.content = content;
        Ok(())
    }

    /// The flush that is under way never counts; another one begins.
    ///
    /// # Errors
    /// When the file cannot be written; then it is still under way.
    pub fn make_void(&mut self) -> io::Result<()> {
        let mut content = self.content.clone();
        content.void.push(Void { mark: content.mark(), told: Vec::new() });
        content.counted += 1;
        self.save(&content)?;
        self.content = content;
        Ok(())
    }

    /// The void flushes that not all shards know of.
    pub fn untold(&self) -> &[Void] {
        &self.content.void
    }

    /// This shard knows that the flush is void; it is forgotten once all of these shards do.
    ///
    /// # Errors
    /// When the file cannot be written; then the shard is told once more.
    pub fn told(&mut self, mark: FlushMark, shard: &str, all: &[String]) -> io::Result<()> {
        let mut content = self.content.clone();
        for void in content.void.iter_mut().filter(|void| void.mark == mark) {
            void.told.push(shard.to_owned());
        }
        content.void.retain(|void| !all.iter().all(|shard| void.told.contains(shard)));
        self.save(&content)?;
        self.content = content;
        Ok(())
    }

    /// Whole or not at all, whenever the machine stops.
    fn save(&self, content: &Content) -> io::Result<()> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let new = dir.join(NEW_FILE);
        let mut file = fs::File::create(&new)?;
        file.write_all(&serde_json::to_vec(content)?)?;
        file.sync_all()?;
        fs::rename(&new, dir.join(FILE))?;
        fs::File::open(dir)?.sync_all()
    }
}

impl Content {
    fn new() -> Self {
        Self { format: FORMAT, run: Uuid::now_v7(), counted: 0, segment: None, offset: 0, void: Vec::new() }
    }

    fn read(text: &[u8]) -> io::Result<Self> {
        let damaged = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
        let content: Self = serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?;
        if content.format != FORMAT {
            return Err(damaged(format!("expected format {FORMAT}, found {}", content.format)));
        }
        Ok(content)
    }

    fn next_run(mut self) -> Self {
        self.void.push(Void { mark: self.mark(), told: Vec::new() });
        Self { run: Uuid::now_v7(), counted: 0, ..self }
    }

    /// Follows from the run and the flush's number, so that it needs not be written down before.
    fn mark(&self) -> FlushMark {
        xxh3_64_with_seed(self.run.as_bytes(), self.counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Position = Position { segment: 3, offset: 70 };

    #[test]
    fn what_was_under_way_at_an_end_is_void_and_what_counted_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut ledger = Ledger::open(dir.path()).expect("a ledger");
        assert_eq!((ledger.checkpoint(), ledger.untold().len()), (None, 0));
        let counted = ledger.mark();
        ledger.count(END).expect("written");
        let under_way = ledger.mark();
        assert_ne!(counted, under_way);

        let ledger = Ledger::open(dir.path()).expect("the ledger");
        assert_eq!(ledger.checkpoint(), Some(END));
        assert_eq!(ledger.untold(), [Void { mark: under_way, told: Vec::new() }]);
        assert_ne!(ledger.mark(), under_way);
    }

    #[test]
    fn a_flush_that_was_begun_before_anything_counted_is_void_too() {
        let dir = tempfile::tempdir().expect("a folder");
        let mark = Ledger::open(dir.path()).expect("a ledger").mark();
        assert_eq!(Ledger::open(dir.path()).expect("the ledger").untold()[0].mark, mark);
    }

    #[test]
    fn a_void_flush_is_remembered_until_all_shards_know() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut ledger = Ledger::open(dir.path()).expect("a ledger");
        let (mark, all) = (ledger.mark(), ["a".to_owned(), "b".to_owned()]);
        ledger.make_void().expect("written");
        assert_ne!(ledger.mark(), mark);
        ledger.told(mark, "a", &all).expect("written");
        assert_eq!(ledger.untold(), [Void { mark, told: vec!["a".into()] }]);
        ledger.told(mark, "b", &all).expect("written");
        assert!(ledger.untold().is_empty());
    }

    #[test]
    fn a_damaged_file_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().expect("a folder");
        for text in ["", "{}", "{\"format\":1"] {
            fs::write(dir.path().join(FILE), text).expect("written");
            assert_eq!(Ledger::open(dir.path()).expect_err("refused").kind(), io::ErrorKind::InvalidData);
            assert_eq!(fs::read_to_string(dir.path().join(FILE)).expect("there"), text);
        }
    }
}
