//! A search that can see the SIP of one call or one session, and nothing else. Everything a customer is shown comes from
//! here. Events are not for customers: a log line may hold whatever the script of a proxy knows.

use super::filter::Filter;
use super::{Listing, Page, Search, SearchError, Session, Window};
use crate::call::Call;
use crate::call::message::{CapturedRef, Kind};

/// What a customer may see.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Subject {
    /// The call with this Call-ID.
    Call(String),
    /// All calls with this correlation id.
    Session(String),
}

/// A subject, within a time window.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Scope {
    /// Which call or session.
    pub subject: Subject,
    /// Which part of it.
    pub window: Window,
}

/// A scoped search could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    /// It asked for what the scope does not hold.
    #[error("outside of what this link shows")]
    Outside,
    /// It failed.
    #[error(transparent)]
    Search(#[from] SearchError),
}

/// Searches within a scope. The scope is applied where messages are read from the store, so no filter, cursor or
/// Call-ID that a client sends can reach beyond it.
#[derive(Clone)]
pub struct Scoped {
    search: Search,
    scope: Scope,
}

impl Scope {
    /// Whether a message is within the scope, of which that is known; an event never is.
    #[must_use]
    pub fn holds(&self, kind: Kind, captured: &CapturedRef<'_>, call_id: Option<&str>) -> bool {
        let of_subject = match &self.subject {
            Subject::Call(own) => call_id == Some(own),
            Subject::Session(id) => captured.correlation_id.as_deref() == Some(id),
        };
        kind != Kind::Other && of_subject && self.window.holds(captured.captured_at_us)
    }
}

impl Window {
    /// Whether a time, µs since the epoch, is within the window.
    #[must_use]
    pub fn holds(&self, time_us: i64) -> bool {
        self.since_us.is_none_or(|t| time_us >= t) && self.until_us.is_none_or(|t| time_us <= t)
    }

    /// The window itself where `asked` leaves an end open; an error where `asked` reaches beyond it.
    fn narrow(&self, asked: Self) -> Result<Self, ScopeError> {
        let since = match (self.since_us, asked.since_us) {
            (Some(own), Some(asked)) if asked < own => return Err(ScopeError::Outside),
            (own, asked) => asked.or(own),
        };
        let until = match (self.until_us, asked.until_us) {
            (Some(own), Some(asked)) if asked > own => return Err(ScopeError::Outside),
            (own, asked) => asked.or(own),
        };
        Ok(Self { since_us: since, until_us: until })
    }
}

impl Scoped {
    /// A search that sees only the scope.
    #[must_use]
    pub fn new(search: Search, scope: Scope) -> Self {
        Self { search: Search { scope: Some(scope.clone()), ..search }, scope }
    }

    /// What can be seen.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// One call, as far as it is within the scope. `None` where its link is right and nothing was captured (yet).
    ///
    /// # Errors
    /// [`ScopeError::Outside`] for a call or a window that the scope does not hold.
    pub async fn call(&self, call_id: &str, window: Window) -> Result<Option<Call>, ScopeError> {
        let window = self.scope.window.narrow(window)?;
        match &self.scope.subject {
            Subject::Call(own) if own != call_id => Err(ScopeError::Outside),
            Subject::Call(_) => Ok(self.search.call(call_id, None, window).await?),
            Subject::Session(id) => {
                let call = self.search.call(call_id, Some(id), window).await?;
                // Whether another call exists is not for this link to tell.
                call.map(Some).ok_or(ScopeError::Outside)
            }
        }
    }

    /// The calls of the scope, newest first.
    ///
    /// # Errors
    /// [`ScopeError::Outside`] for a window that the scope does not hold.
    pub async fn calls(&self, page: &Page, window: Window) -> Result<Listing<Call>, ScopeError> {
        let window = self.scope.window.narrow(window)?;
        let mut filter = Filter { since_us: window.since_us, until_us: window.until_us, ..Filter::default() };
        match &self.scope.subject {
            Subject::Call(call_id) => filter.call_id = Some(call_id.clone()),
            Subject::Session(id) => filter.correlation_id = Some(id.clone()),
        }
        Ok(self.search.calls(&filter, page).await?)
    }

    /// What the session of the scope comes to.
    ///
    /// # Errors
    /// [`ScopeError::Outside`] for a window that the scope does not hold, and where the scope is a single call.
    pub async fn session(&self, window: Window) -> Result<Option<Session>, ScopeError> {
        let window = self.scope.window.narrow(window)?;
        match &self.scope.subject {
            Subject::Call(_) => Err(ScopeError::Outside),
            Subject::Session(id) => Ok(self.search.session(id, window).await?),
        }
    }
}
