//! `siplens migrate-homer`: copies the messages of a Homer 7 database (PostgreSQL) into the store.
//!
//! A page of rows becomes a flush, in the order of their time. How far a table is copied is the flush's place, which the
//! store commits together with the messages, under the table's name, as it does for a spool. So a migration that was
//! stopped, or killed, goes on where the store stands: no row is there twice, and none is left out. Nothing is written
//! to Homer's database.

mod page;
pub mod row;
mod source;

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::api::time::{self, rfc3339};
use crate::call::event::EventPaths;
use crate::call::message::Captured;
use crate::cli::print;
use crate::config::Config;
use crate::databases;
use crate::flush::Trainer;
use crate::parallel;
use crate::spool::{self, Position};
use crate::store::slice::{Cut, Cutter, Item};
use crate::store::{Flush, Store};
use crate::telemetry::clock;

use row::{LeftOut, Whose, read};
use source::{Source, Table};

/// How often it is told how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

/// Fewer messages than this are not worth another thread.
const MESSAGES_OF_A_THREAD: usize = 500;

/// Copy the messages of a Homer 7 database into the store. It may be stopped at any time, and goes on where it was when it
/// is called again. The backend must not run if it has the embedded store; with another it may.
#[derive(Args, Debug)]
pub struct MigrateHomer {
    /// URL of Homer's data database (`homer_data`), which is only read.
    #[arg(long, env = "SIPLENS_HOMER_URL", value_name = "URL", hide_env_values = true)]
    from: String,
    /// Schema of its tables.
    #[arg(long, default_value = "public")]
    schema: String,
    /// Only rows from then on: RFC 3339, or a time before now such as -30d.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only rows before then: when the agents began to send to Siplens, too.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Whose they are. Without it, the tenant's to whom the agent's id belongs, if there is one.
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
}

/// Which rows are wanted, µs since the epoch.
#[derive(Clone, Copy, Debug)]
struct Range {
    /// From this on.
    since_us: i64,
    /// Before this.
    until_us: i64,
}

/// What became of rows.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    copied: u64,
    /// Of those, without a usable address or port.
    unlocated: u64,
    without_payload: u64,
    without_time: u64,
    unstorable: u64,
}

impl MigrateHomer {
    /// Runs it to its end, or until it is told to stop.
    ///
    /// # Errors
    /// When a database cannot be used, or the store is in use. What was copied until then stays.
    pub async fn run(self, config: &Config) -> Result<()> {
        let now_us = clock::now_us();
        let at = |name, text: &Option<String>, else_us| match text {
            Some(text) => Ok(time::parse(name, text, now_us)?),
            None => Ok::<_, anyhow::Error>(else_us),
        };
        let range = Range {
            // Before 1970 is a broken clock.
            since_us: at("since", &self.since, 0)?.max(0),
            until_us: at("until", &self.until, source::FAR_FUTURE_US)?.min(source::FAR_FUTURE_US),
        };
        if let Some(wanted) = &self.tenant {
            ensure!(
                config.tenants.iter().any(|tenant| tenant.name == *wanted),
                "no tenant {wanted} is configured"
            );
        }
        let _lock = lock(config)?;
        let source = Source::connect(&self.from, &self.schema).await?;
        let tables = source.tables().await?;
        let Some(first) = tables.first() else {
            bail!("no table hep_proto_… in the schema {}: is it Homer's data database?", self.schema);
        };
        let mut maker = Maker {
            cutter: Cutter {
                paths: Arc::new(config.events.paths()),
                retention: Arc::new(config.retention.rules()),
                homes: databases::homes(config),
                ..Cutter::default()
            },
            trainer: Trainer::new(
                databases::store_for(config, &first.identity).await?.newest_dictionary().await?,
            ),
            threads: config.spool.threads(),
            whose: Whose { tenants: config.tenants(), noted: self.tenant },
        };
        let mut total = Counts::default();
        for table in &tables {
            let store = databases::store_for(config, &table.identity).await?;
            store.note_paths(&maker.cutter.paths.set()).await?;
            let counts = Counts::default();
            let mut migration =
                Migration { source: &source, table, store, maker: &mut maker, counts, begun: Instant::now() };
            let ended = migration.run(range, now_us).await?;
            total.add(migration.counts);
            if !ended {
                source.close().await;
                return print("stopped; call it again to go on");
            }
        }
        source.close().await;
        print(&format!("done: {}", total.told()))
    }
}

/// Keeps a second migration, and a backend with the embedded store, out.
fn lock(config: &Config) -> Result<File> {
    let dir = databases::data_dir(config)?;
    if config.database.url.is_empty() && !config.clickhouse.is_used() {
        return spool::lock(&dir.join("spool")).context("the backend must not run meanwhile");
    }
    let path = dir.join("migrate-homer.lock");
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    file.try_lock().with_context(|| format!("{}: a migration is running", path.display()))?;
    Ok(file)
}

/// Makes slices of rows.
struct Maker {
    cutter: Cutter,
    trainer: Trainer,
    threads: usize,
    whose: Whose,
}

/// One table on its way.
struct Migration<'s> {
    source: &'s Source,
    table: &'s Table,
    store: Arc<dyn Store>,
    maker: &'s mut Maker,
    counts: Counts,
    begun: Instant,
}

impl Migration<'_> {
    /// Copies what is not copied yet; `false` if it was told to stop before the end.
    async fn run(&mut self, range: Range, now_us: i64) -> Result<bool> {
        let name = &self.table.name;
        let Some(span) = self.source.span(self.table).await? else {
            print(&format!("{name}: empty"))?;
            return Ok(true);
        };
        self.warn_of_retention(span.oldest_us.max(range.since_us), now_us);
        let copied = self.store.checkpoint().await?.map(|position| position.segment.cast_signed());
        let mut after_us = copied.unwrap_or(-1).max(range.since_us - 1);
        let rows = span.rows.map_or_else(String::new, |rows| format!("about {rows} rows "));
        print(&format!("{name}: {rows}from {} to {}", rfc3339(span.oldest_us), rfc3339(span.newest_us)))?;
        if let Some(us) = copied {
            print(&format!("{name}: copied up to {} before", rfc3339(us)))?;
        }
        let mut stop = Stop::new()?;
        let mut told = Instant::now();
        let mut rows_wanted = page::FIRST_ROWS;
        loop {
            let page = self.source.page(self.table, after_us, range.until_us, rows_wanted).await?;
            rows_wanted = page.next_rows();
            let Some(end_us) = page.end_us() else { break };
            self.write(page.rows, end_us).await?;
            after_us = end_us;
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                print(&format!("{name}: {} copied, up to {}", self.counts.copied, rfc3339(after_us)))?;
            }
            if stop.asked() {
                print(&format!("{name}: {}, up to {}", self.counts.told(), rfc3339(after_us)))?;
                return Ok(false);
            }
        }
        self.counts.without_time = self.source.without_time(self.table).await?;
        let seconds = self.begun.elapsed().as_secs_f64();
        print(&format!("{name}: {} in {seconds:.1} s", self.counts.told()))?;
        Ok(true)
    }

    /// Stores a page, and with it how far the table is copied.
    async fn write(&mut self, rows: Vec<row::Row>, end_us: i64) -> Result<()> {
        let mut messages = Vec::with_capacity(rows.len());
        for row in rows {
            match read(row, self.table.protocol_type, &self.maker.whose) {
                Ok((message, is_located)) => {
                    self.counts.unlocated += u64::from(!is_located);
                    messages.push(message);
                }
                Err(LeftOut::WithoutPayload) => self.counts.without_payload += 1,
            }
        }
        let Cut { packs, left_out, .. } = tokio::task::block_in_place(|| self.maker.make(&messages));
        for (_, error) in &left_out {
            tracing::error!(%error, table = self.table.name, "a message cannot be put into a slice");
        }
        self.counts.unstorable += left_out.len() as u64;
        self.counts.copied += (messages.len() - left_out.len()) as u64;
        // Pages hold all rows of their last microsecond, so the time alone tells where the next one begins.
        let end = Position { segment: end_us.cast_unsigned(), offset: 0 };
        self.store.write(&Flush { packs, end }).await.context("the store; what was copied before is there")
    }

    /// Says it if what is copied first would go at once.
    fn warn_of_retention(&self, oldest_us: i64, now_us: i64) {
        let retention = &self.maker.cutter.retention;
        let names = retention.rules.iter().map(|rule| &*rule.name).chain([crate::store::rule::DEFAULT_RULE]);
        let cutoffs: Vec<_> = names.map(|name| retention.cutoff_us(name, now_us)).collect();
        // Of rules that differ, the one that keeps longest: no row is older than what it lets go of.
        if let Some(cutoff_us) =
            cutoffs.into_iter().collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().min())
            && oldest_us < cutoff_us
        {
            tracing::warn!(
                table = self.table.name,
                oldest = rfc3339(oldest_us),
                kept_since = rfc3339(cutoff_us),
                "rows older than retention.hours keeps are copied and then let go of: raise it, or give --since"
            );
        }
    }
}

impl Maker {
    fn make(&mut self, messages: &[Captured]) -> Cut {
        self.cutter.dictionary = self.trainer.dictionary();
        self.cutter.sample_bytes = self.trainer.wanted_bytes();
        let threads = self.threads.min(messages.len() / MESSAGES_OF_A_THREAD).max(1);
        let parts: Vec<_> = messages.chunks(messages.len().div_ceil(threads).max(1)).collect();
        let paths = &self.cutter.paths;
        let items: Vec<_> = parallel::map(parts, |part| items(part, paths)).into_iter().flatten().collect();
        let mut cut = self.cutter.cut_items(&items, threads);
        self.trainer.see(&mut cut);
        cut
    }
}

fn items<'m>(messages: &'m [Captured], paths: &EventPaths) -> Vec<Item<'m>> {
    messages.iter().map(|message| Item::read(message.lent(), paths)).collect()
}

/// Whether the operator, or the machine, wants it to end.
struct Stop([tokio::signal::unix::Signal; 2]);

impl Stop {
    fn new() -> Result<Self> {
        Ok(Self([signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?]))
    }

    fn asked(&mut self) -> bool {
        use std::task::{Context, Poll, Waker};
        let mut context = Context::from_waker(Waker::noop());
        self.0.iter_mut().any(|signal| matches!(signal.poll_recv(&mut context), Poll::Ready(Some(()))))
    }
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.copied += other.copied;
        self.unlocated += other.unlocated;
        self.without_payload += other.without_payload;
        self.without_time += other.without_time;
        self.unstorable += other.unstorable;
    }

    fn told(&self) -> String {
        let mut text = format!("{} copied", self.copied);
        for (count, what) in [
            (self.unlocated, "of them without an address or port"),
            (self.without_payload, "left out: no payload"),
            (self.without_time, "left out: no time"),
            (self.unstorable, "left out: see the log"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        text
    }
}
