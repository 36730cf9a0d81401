//! Starts a backend, loads it, and tells what it took.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgPoolOptions};

use super::RunArgs;
use super::child::Backend;
use super::client::{Client, Metrics};
use super::load::{Load, Sent, Wire};
use super::report::{each_us, figure, fraction};
use super::{cost, lookups, sent, visible};
use crate::cli::print;

/// How often it is looked whether all is stored.
const LOOK: Duration = Duration::from_millis(50);

/// A backend that stores nothing for so long, though it has something, is stuck.
const STUCK: Duration = Duration::from_secs(60);

/// How long datagrams may be on their way.
const ON_THE_WAY: Duration = Duration::from_secs(1);

/// Runs all of it.
///
/// # Errors
/// When the backend does not run, or something that it took is not found.
pub fn run(arguments: &RunArgs) -> Result<()> {
    let database = Database::of(&arguments.store)?;
    let url = if arguments.store == "sqlite" { "" } else { arguments.store.as_str() };
    let parent = arguments.folder.clone().unwrap_or_else(std::env::temp_dir);
    let mut backend = Backend::start(&parent, url, arguments.backend_config.as_deref())?;
    let client = Client::new(&backend.http);

    let before = Cost::now(&backend, arguments)?;
    let load = arguments.traffic.load(backend.hep, arguments.transport);
    let sent = load.send()?;
    let metrics = wait_until_stored(&client, &load, sent.messages)?;
    let took = sent.begun.elapsed();
    let after = Cost::now(&backend, arguments)?;
    self::sent(&sent)?;
    told_of_load(&sent, &metrics, took, before, after)?;

    let mut count = metrics.stored();
    if arguments.visible_rate > 0 {
        let rate = arguments.visible_rate;
        let load = Load {
            messages: u64::from(rate) * u64::from(arguments.visible_seconds),
            rate: Some(rate),
            simulated_rate: None,
            seed: load.seed ^ 0x5eed,
            wire: Wire::Tcp,
            ..load
        };
        let spread = visible::measure(load, &client)?;
        print(&format!(
            "\n{:<44} {:>5} {:>10} {:>10} {:>10}",
            "arrival until found by a search", "times", "p50 ms", "p99 ms", "max ms"
        ))?;
        print(&format!(
            "{:<44} {:>5} {}",
            format!("at {rate} messages/s"),
            spread.count(),
            spread.columns()
        ))?;
        count = client.metrics()?.stored();
    }
    if !arguments.no_lookups {
        lookups::ask(&client, &sent, backend.id())?;
    }
    print("")?;
    let peak = cost::peak_resident_bytes(backend.id())?;
    fraction("largest resident memory of the backend", peak as f64 / f64::from(1 << 20), "MiB")?;
    backend.stop()?;
    let bytes = match &database {
        None => cost::folder_bytes(&backend.store())?,
        Some(database) => database.grown_bytes()?,
    };
    fraction("disk, store", bytes as f64 / count as f64, "octets a message")?;
    let spool = cost::folder_bytes(&backend.data().join("spool"))?;
    fraction("disk, spool, after the stop", spool as f64 / f64::from(1 << 20), "MiB")
}

/// What processes have used so far.
#[derive(Clone, Copy)]
struct Cost {
    backend: Duration,
    database: Option<Duration>,
}

impl Cost {
    fn now(backend: &Backend, arguments: &RunArgs) -> Result<Self> {
        let database = arguments.database_pid.map(cost::family_cpu).transpose()?;
        Ok(Self { backend: cost::cpu(backend.id())?, database })
    }
}

fn told_of_load(sent: &Sent, metrics: &Metrics, took: Duration, before: Cost, after: Cost) -> Result<()> {
    let stored = metrics.stored();
    figure("messages stored", stored, "")?;
    figure("datagrams dropped by the kernel", metrics.kernel_drops(), "")?;
    figure("packets refused", metrics.refused(), "")?;
    let unexplained =
        i128::from(sent.messages) - i128::from(stored + metrics.kernel_drops() + metrics.refused());
    figure("messages not accounted for", unexplained, "")?;
    figure(
        "rate, first sent until last stored",
        format!("{:.0}", stored as f64 / took.as_secs_f64()),
        "messages/s",
    )?;
    let backend = each_us(after.backend.saturating_sub(before.backend), stored);
    fraction("processor time of the backend", backend, "µs a message")?;
    if let (Some(before), Some(after)) = (before.database, after.database) {
        let database = each_us(after.saturating_sub(before), stored);
        fraction("processor time of the database", database, "µs a message")?;
        fraction("processor time of both", backend + database, "µs a message")?;
    }
    ensure!(unexplained == 0, "{unexplained} messages are neither stored nor counted as lost");
    Ok(())
}

/// Waits until everything that was taken in is stored: over TCP all that was sent, over UDP what came.
fn wait_until_stored(client: &Client, load: &Load, sent: u64) -> Result<Metrics> {
    let (mut last, mut changed) = (0, Instant::now());
    let ended = Instant::now();
    loop {
        let metrics = client.metrics()?;
        let stored = metrics.stored();
        let all = match load.wire {
            Wire::Tcp => stored + metrics.refused() >= sent,
            Wire::Udp => ended.elapsed() > ON_THE_WAY && stored >= metrics.taken(),
        };
        if all {
            return Ok(metrics);
        }
        if stored > last {
            (last, changed) = (stored, Instant::now());
        }
        if changed.elapsed() > STUCK {
            bail!("{stored} of {sent} messages are stored, and no more since {STUCK:?}");
        }
        std::thread::sleep(LOOK);
    }
}

/// A PostgreSQL database that was empty.
struct Database {
    url: String,
    size_before: u64,
}

impl Database {
    /// `None` for the embedded store.
    fn of(store: &str) -> Result<Option<Self>> {
        if store == "sqlite" {
            return Ok(None);
        }
        ensure!(
            store.starts_with("postgres://") || store.starts_with("postgresql://"),
            "--store: expected sqlite or postgres://…, found {store:?}"
        );
        let mut database = Self { url: store.replacen("@/", "@localhost/", 1), size_before: 0 };
        let tables =
            "select count(*) from pg_tables where schemaname not in ('pg_catalog', 'information_schema')";
        let tables = database.ask(tables)?;
        ensure!(
            tables == 0,
            "--store: the database has {tables} tables; give an empty one, it is filled with made-up calls"
        );
        database.size_before = database.size()?;
        Ok(Some(database))
    }

    fn size(&self) -> Result<u64> {
        Ok(u64::try_from(self.ask("select pg_database_size(current_database())")?)?)
    }

    fn grown_bytes(&self) -> Result<u64> {
        Ok(self.size()?.saturating_sub(self.size_before))
    }

    fn ask(&self, question: &'static str) -> Result<i64> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let pool = PgPoolOptions::new().max_connections(1).connect(&self.url).await.context("--store")?;
            let mut connection: PgConnection = pool.acquire().await?.detach();
            let row = sqlx::query(question).fetch_one(&mut connection).await?;
            Ok(row.try_get(0)?)
        })
    }
}
