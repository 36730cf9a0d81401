//! Buckets that are so damaged that they could not be opened. They are renamed and stay until retention takes them, and
//! searches that would have reached them say that something may be missing.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use super::file;
use crate::store::retention::Piece;
use crate::store::{StoreError, Walk, rule};

/// Those of a store.
#[derive(Default)]
pub struct SetAside {
    files: RwLock<Vec<Damaged>>,
}

#[derive(Clone)]
struct Damaged {
    path: PathBuf,
    /// No message in it is younger, µs since the epoch.
    newest_us: i64,
}

impl SetAside {
    /// Takes a file that was set aside along.
    pub fn add(&self, path: PathBuf) {
        let newest_us = file::changed_us(&path).unwrap_or(i64::MAX);
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        files.push(Damaged { path, newest_us });
    }

    /// Whether a walk may have missed something that is in them: it reached as far back as they do.
    pub fn concerns(&self, walk: &Walk, reached_us: Option<i64>) -> bool {
        let oldest_us = reached_us.max(walk.since_us);
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        files.iter().any(|file| oldest_us.is_none_or(|oldest_us| oldest_us <= file.newest_us))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.files.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// They as pieces that can go, under the default rule.
    pub fn pieces(&self) -> Vec<Piece> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        let piece = |damaged: &Damaged| Piece {
            name: damaged.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            rule: rule::default_name(),
            newest_us: Some(damaged.newest_us),
            bytes: file::bytes(std::slice::from_ref(&damaged.path)),
            stays: false,
        };
        files.iter().map(piece).collect()
    }

    /// Deletes the one of this name, if there is one; whether there was.
    pub fn remove(&self, name: &str) -> Result<bool, StoreError> {
        let named = |damaged: &Damaged| damaged.path.file_name().is_some_and(|found| found == name);
        let found = {
            let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
            files.iter().find(|damaged| named(damaged)).cloned()
        };
        let Some(found) = found else { return Ok(false) };
        file::remove(&file::set_aside_files(&found.path))?;
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        files.retain(|damaged| !named(damaged));
        Ok(true)
    }
}
