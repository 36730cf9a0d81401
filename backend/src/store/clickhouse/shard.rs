//! A shard: servers that hold the same, of which one is asked. Which of them cannot be is remembered for a while.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prometheus_client::metrics::gauge::Gauge;

use super::StoreError;
use super::http::{ANSWER_BYTES, Access, Failure, Server, ServerUrl};
use super::schema::{Abilities, Layout, PrepareError, prepare};

/// How long a server that failed is left alone; twice as long after each further failure.
const SHORTEST_REST: Duration = Duration::from_secs(2);

/// The longest that it is left alone.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// A shard.
pub struct Shard {
    name: String,
    replicas: Vec<Replica>,
    layout: Layout,
    /// How many servers of all shards are away.
    away: Gauge,
}

struct Replica {
    server: Server,
    state: Mutex<State>,
}

#[derive(Clone, Default)]
struct State {
    /// Known once the server has been spoken to and has its tables.
    abilities: Option<Abilities>,
    /// How often it was away, one after the other.
    failures: u32,
    /// Until when it is left alone, and why.
    rest: Option<(Instant, Failure)>,
}

impl Shard {
    pub fn new(urls: Vec<ServerUrl>, access: &Access, layout: &Layout, away: &Gauge) -> Self {
        let name = urls.first().map(ToString::to_string).unwrap_or_default();
        let replicas = urls
            .into_iter()
            .map(|url| Replica { server: Server::new(url, access.clone()), state: Mutex::default() })
            .collect();
        Self { name, replicas, layout: layout.clone(), away: away.clone() }
    }

    /// What it is known by: the address of its first server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Finds out whether its servers can be used.
    ///
    /// # Errors
    /// When none can be reached, or one has tables that are not ours.
    pub async fn open(&self) -> Result<(), PrepareError> {
        let mut last = Ok(());
        let mut reached = false;
        for replica in &self.replicas {
            match prepare(&replica.server, &self.layout).await {
                Ok(abilities) => {
                    replica.is_well(abilities, self);
                    reached = true;
                }
                Err(PrepareError::Failure(failure)) => {
                    replica.failed(&failure, self);
                    last = Err(failure.into());
                }
                Err(error @ PrepareError::Store(_)) => return Err(error),
            }
        }
        if reached { Ok(()) } else { last }
    }

    /// Asks the first server that answers.
    pub async fn ask(&self, sql: &str) -> Result<Bytes, Failure> {
        self.ask_within(sql, ANSWER_BYTES).await
    }

    /// The same, for an answer of so many octets at most.
    pub async fn ask_within(&self, sql: &str, most: usize) -> Result<Bytes, Failure> {
        self.put(&Question::Ask { sql, most }).await
    }

    /// Gives rows to the first server that takes them. With the same token it takes them once, if it knows how to;
    /// otherwise they may be there twice.
    pub async fn insert(&self, sql: &str, token: &str, rows: Bytes) -> Result<(), Failure> {
        self.put(&Question::Insert { sql, token, rows }).await.map(drop)
    }

    async fn put(&self, question: &Question<'_>) -> Result<Bytes, Failure> {
        let mut last = None;
        for replica in &self.replicas {
            let answer = match replica.usable(self).await {
                Ok(abilities) => replica.put(question, abilities).await,
                Err(failure) => Err(failure),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(failure @ Failure::TooMuch(_)) => return Err(failure),
                Err(failure) => {
                    replica.failed(&failure, self);
                    last = Some(failure);
                }
            }
        }
        Err(last.unwrap_or_else(|| Failure::Away(format!("{}: no server", self.name))))
    }
}

enum Question<'a> {
    Ask { sql: &'a str, most: usize },
    Insert { sql: &'a str, token: &'a str, rows: Bytes },
}

impl Replica {
    /// What the server can do; an error while it is left alone, or if it does not answer.
    async fn usable(&self, shard: &Shard) -> Result<Abilities, Failure> {
        let State { abilities, failures, rest } = self.state().clone();
        if let Some((_, failure)) = rest.filter(|(until, _)| Instant::now() < *until) {
            return Err(failure);
        }
        if failures > 0 {
            self.server.ping().await?;
        }
        if let Some(abilities) = abilities.filter(|_| failures == 0) {
            return Ok(abilities);
        }
        match prepare(&self.server, &shard.layout).await {
            Ok(abilities) => {
                self.is_well(abilities, shard);
                Ok(abilities)
            }
            Err(PrepareError::Failure(failure)) => Err(failure),
            Err(PrepareError::Store(error)) => Err(Failure::Away(error.to_string())),
        }
    }

    async fn put(&self, question: &Question<'_>, abilities: Abilities) -> Result<Bytes, Failure> {
        match question {
            Question::Ask { sql, most } => self.server.ask_within((*sql).to_owned(), *most).await,
            Question::Insert { sql, token, rows } => {
                let token = Some(*token).filter(|_| abilities.deduplicates);
                self.server.insert(sql, token, rows.clone()).await
            }
        }
    }

    fn is_well(&self, abilities: Abilities, shard: &Shard) {
        let mut state = self.state();
        if state.failures > 0 {
            shard.away.dec();
            tracing::info!(shard = shard.name, server = %self.server.url(), "the server is back");
        }
        *state = State { abilities: Some(abilities), ..State::default() };
    }

    /// Remembers a failure. A server that merely refused something is not left alone, but looked at anew.
    fn failed(&self, failure: &Failure, shard: &Shard) {
        let mut state = self.state();
        match failure {
            Failure::Refused(_) | Failure::TooMuch(_) => state.abilities = None,
            // Left alone already.
            Failure::Away(_) if state.rest.as_ref().is_some_and(|(until, _)| Instant::now() < *until) => {}
            Failure::Away(reason) => {
                if state.failures == 0 {
                    shard.away.inc();
                    tracing::error!(shard = shard.name, server = %self.server.url(), reason, "the server is away");
                }
                let rest = SHORTEST_REST.saturating_mul(1 << state.failures.min(8)).min(LONGEST_REST);
                state.failures = state.failures.saturating_add(1);
                state.rest = Some((Instant::now() + rest, failure.clone()));
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<PrepareError> for StoreError {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Failure(failure) => failure.into(),
            PrepareError::Store(error) => *error,
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::TooMuch(_) => Self::TooMuch,
            Failure::Away(_) | Failure::Refused(_) => Self::Away(failure.to_string()),
        }
    }
}
