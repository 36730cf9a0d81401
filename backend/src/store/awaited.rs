//! A store that cannot be reached when the backend starts. Until it can be, every question to it fails as if it had gone away
//! later; what comes in waits in the spool.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use super::{Dictionary, Flush, Plan, Retention, Store, StoreError, Walk, Walked};
use crate::call::event::PathSet;
use crate::spool::Position;

/// How long a start waits for the first try: whoever listens for HEP should do so soon.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause after the first try that failed; twice as long after each further one.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// One try to open the store.
pub type Opening = Pin<Box<dyn Future<Output = Result<Arc<dyn Store>, StoreError>> + Send>>;

/// A store that is opened as soon as it can be.
pub struct Awaited {
    state: Arc<State>,
    _opening: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct State {
    store: OnceLock<Arc<dyn Store>>,
    /// Why it could not be opened the last time.
    reason: Mutex<String>,
}

/// Opens a store. One that is away is tried again and again, and what is answered opens it later.
///
/// # Errors
/// When it answers, within some seconds, what no waiting mends.
pub async fn open(open: impl Fn() -> Opening + Send + Sync + 'static) -> Result<Arc<dyn Store>, StoreError> {
    let state = Arc::new(State::default());
    let (first, told) = oneshot::channel();
    let opening = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&state).try_until_open(open, first)));
    match tokio::time::timeout(PATIENCE, told).await {
        Ok(Ok(Ok(store))) => return Ok(store),
        Ok(Ok(Err(error))) if error.is_lasting() => return Err(error),
        Ok(Ok(Err(_)) | Err(_)) => {}
        Err(_) => state.failed(&StoreError::Away(format!("no answer for {} s", PATIENCE.as_secs()))),
    }
    Ok(Arc::new(Awaited { state, _opening: opening }))
}

impl State {
    /// Tries until it is open; tells what became of the first try, and ends there if nothing can come of further ones.
    async fn try_until_open(
        self: Arc<Self>,
        open: impl Fn() -> Opening + Send + Sync,
        first: oneshot::Sender<Result<Arc<dyn Store>, StoreError>>,
    ) {
        let mut first = Some(first);
        let mut pause = SHORTEST_PAUSE;
        loop {
            match open().await {
                Ok(store) => {
                    let late = first.take().is_none_or(|first| first.send(Ok(Arc::clone(&store))).is_err());
                    let _opened_once = self.store.set(store);
                    if late {
                        tracing::info!("the store can be reached; what waits in the spool is stored now");
                    }
                    return;
                }
                Err(error) => {
                    self.failed(&error);
                    let is_lasting = error.is_lasting();
                    // Who has heard of it does not wait for more.
                    if first.take().is_some_and(|first| first.send(Err(error)).is_ok()) && is_lasting {
                        return;
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Says why it cannot be opened, once for each reason.
    fn failed(&self, error: &StoreError) {
        let reason = error.to_string();
        let mut last = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        if *last == reason {
            return;
        }
        if error.is_lasting() {
            tracing::error!(%error, "the store refuses to be opened, which waiting does not mend; what comes in waits in the spool");
        } else {
            tracing::error!(%error, "the store cannot be reached yet; what comes in waits in the spool, and it is tried again");
        }
        *last = reason;
    }
}

impl Awaited {
    fn store(&self) -> Result<&dyn Store, StoreError> {
        let away = || {
            let reason = self.state.reason.lock().unwrap_or_else(PoisonError::into_inner);
            StoreError::Away(format!("not reached since the start: {reason}"))
        };
        self.state.store.get().map(AsRef::as_ref).ok_or_else(away)
    }
}

#[async_trait]
impl Store for Awaited {
    async fn checkpoint(&self) -> Result<Option<Position>, StoreError> {
        self.store()?.checkpoint().await
    }

    async fn write(&self, flush: &Flush) -> Result<(), StoreError> {
        self.store()?.write(flush).await
    }

    async fn note_paths(&self, paths: &PathSet) -> Result<(), StoreError> {
        self.store()?.note_paths(paths).await
    }

    async fn noted_paths(&self) -> Result<Vec<PathSet>, StoreError> {
        self.store()?.noted_paths().await
    }

    async fn newest_dictionary(&self) -> Result<Option<Arc<Dictionary>>, StoreError> {
        self.store()?.newest_dictionary().await
    }

    async fn walk(&self, walk: &Walk) -> Result<Walked, StoreError> {
        self.store()?.walk(walk).await
    }

    async fn plan(&self, retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
        self.store()?.plan(retention, now_us).await
    }

    async fn retain(&self, retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
        self.store()?.retain(retention, now_us).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.store()?.ping().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::store::sqlite::SqliteStore;

    fn away() -> StoreError {
        StoreError::Away("nobody there".into())
    }

    #[tokio::test]
    async fn a_store_that_is_away_at_first_is_opened_later_and_what_cannot_be_mended_is_said_at_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, tries) = (dir.path().to_owned(), AtomicU32::new(0));
        let store = open(move || {
            let (path, number) = (path.clone(), tries.fetch_add(1, Ordering::Relaxed));
            Box::pin(async move {
                match number {
                    0 => Err(away()),
                    // By now nobody can be told but by the log.
                    1 => Err(StoreError::Refused("wrong password".into())),
                    _ => Ok(Arc::new(SqliteStore::open(&path, "late").await?) as Arc<dyn Store>),
                }
            })
        })
        .await
        .expect("a store to come");
        let error = store.ping().await.expect_err("not there yet").to_string();
        assert_eq!(error, "store is away: not reached since the start: store is away: nobody there");
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while store.ping().await.is_err() {
            assert!(std::time::Instant::now() < deadline, "it was not opened");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(store.checkpoint().await.expect("an answer"), None);

        let refused = || Box::pin(async { Err(StoreError::Refused("wrong password".into())) }) as Opening;
        let error = open(refused).await.err().expect("refused at once");
        assert!(matches!(error, StoreError::Refused(_)), "{error}");
    }
}
