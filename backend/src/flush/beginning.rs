//! What has to be asked of the store before anything is written to it. A store that is away at the start is asked later.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::{Flusher, LONGEST_PAUSE};
use crate::call::event::EventPaths;
use crate::spool::{Position, SpoolReader};
use crate::store::{Dictionary, Store, StoreError};

/// How soon a stop is noticed.
const STEP: Duration = Duration::from_millis(100);

/// What the store knows of an earlier run.
#[derive(Clone, Debug, Default)]
pub struct Beginning {
    /// How far the spool is stored.
    pub checkpoint: Option<Position>,
    /// The newest dictionary.
    pub dictionary: Option<Arc<Dictionary>>,
}

impl Beginning {
    /// Asks the store, and tells it by which paths events will be keyed.
    ///
    /// # Errors
    /// When it is away.
    pub async fn ask(store: &dyn Store, paths: &EventPaths) -> Result<Self, StoreError> {
        store.note_paths(&paths.set()).await?;
        Ok(Self { checkpoint: store.checkpoint().await?, dictionary: store.newest_dictionary().await? })
    }
}

impl Flusher {
    /// Waits until the store can be asked, and goes to where it stands; whether that was before the stop.
    pub(super) fn find_beginning(&mut self, reader: &mut SpoolReader, runtime: &Handle) -> bool {
        if self.has_begun {
            return true;
        }
        let mut pause = STEP;
        loop {
            match runtime.block_on(Beginning::ask(&*self.store, &self.cutter.paths)) {
                Ok(Beginning { checkpoint, dictionary }) => {
                    reader.begin_at(checkpoint);
                    self.cutter.dictionary = dictionary;
                    self.has_begun = true;
                    self.metrics.store_up(true);
                    return true;
                }
                Err(error) => tracing::debug!(%error, "the store cannot be asked how far it is"),
            }
            let until = Instant::now() + pause;
            while Instant::now() < until {
                if self.stop.load(Ordering::Acquire) {
                    return false;
                }
                std::thread::sleep(STEP);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
