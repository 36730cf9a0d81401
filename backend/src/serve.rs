//! The service: what starts in which order, and how it stops without losing what was taken in.

mod hep;
mod keys;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::turns::Turns;
use crate::api::{self, ApiState};
use crate::cli::print;
use crate::config::{Config, ConfigError};
use crate::customer::{self, CustomerState};
use crate::databases;
use crate::flush::{Aside, Beginning, Flusher};
use crate::ingest::Admission;
use crate::ingest::keys::Keys;
use crate::ingest::tls::Tls;
use crate::search::Search;
use crate::spool::{self, Spool, SpoolConfig, SpoolStats};
use crate::store::retention;
use crate::store::slice::Cutter;
use crate::telemetry::Metrics;

use keys::KeyFile;

/// How long open HTTP requests may take to end at a stop.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT. At SIGHUP `read` gives the settings as they are now; those that can change while it
/// runs (`[admission]`, and TLS certificates) take effect.
///
/// # Errors
/// When something cannot be opened or bound.
pub async fn serve(config: &Config, read: impl Fn() -> Result<Config, ConfigError>) -> Result<()> {
    let spool_dir = databases::data_dir(config)?.join("spool");
    let metrics = Arc::new(Metrics::default());
    let (store, accounts) = databases::open(config, &spool::identity(&spool_dir)?, &metrics).await?;
    let keys = Keys::default();
    let mut key_file = KeyFile::of(databases::data_dir(config)?);
    keys::begin(&accounts, &keys, &mut key_file).await;
    if config.admission.require_key && keys.is_empty() {
        tracing::warn!(
            "admission.require_key: there is no key yet, so nothing is taken; make one with `siplens agent-key add NAME`"
        );
    }
    let paths = Arc::new(config.events.paths());
    let (beginning, has_begun) = match Beginning::ask(&*store, &paths).await {
        Ok(beginning) => (beginning, true),
        Err(error) if error.is_lasting() => return Err(error.into()),
        Err(_) => (Beginning::default(), false),
    };
    let budget = config.memory.budget();
    let spool_config = SpoolConfig {
        dir: spool_dir,
        max_bytes: config.spool.max_bytes,
        segment_bytes: config.spool.segment_bytes,
        sync_interval: Duration::from_millis(config.spool.sync_milliseconds),
        memory_bytes: budget.spool_bytes(),
        ..SpoolConfig::default()
    };
    let (writer, reader) = Spool::open(spool_config, beginning.checkpoint)?;

    let hep = hep::Listeners::bind(config).await?;
    let (hep_address, hep_others, hep_tls) = (hep.address()?, hep.announcements()?, hep.tls());
    let http = bind(config.http.listen, "http.listen").await?;
    let customer = bind(config.customer.listen, "customer.listen").await?;
    let (http_address, customer_address) = (http.local_addr()?, customer.local_addr()?);
    // Before anybody can know that this process runs: an early SIGTERM must stop it as cleanly as a late one.
    let signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        hangup: signal(SignalKind::hangup())?,
    };

    metrics.store_up(has_begun);
    // From here on nothing fails: start everything.
    let retention = Arc::new(config.retention.rules());
    let stop_flushing = Arc::new(AtomicBool::new(false));
    let flusher = Flusher {
        store: Arc::clone(&store),
        metrics: Arc::clone(&metrics),
        most_bytes: usize::try_from(budget.flush_bytes())?,
        interval: Duration::from_millis(config.spool.flush_milliseconds),
        inflated_bytes: config.hep.inflated_bytes,
        tenants: Arc::new(config.tenants()),
        cutter: Cutter {
            paths: Arc::clone(&paths),
            retention: Arc::clone(&retention),
            dictionary: beginning.dictionary,
            sample_bytes: 0,
            homes: databases::homes(config),
        },
        has_begun,
        threads: config.spool.threads(),
        aside: Aside::new(databases::data_dir(config)?.join("quarantine")),
        stop: Arc::clone(&stop_flushing),
    };
    let runtime = Handle::current();
    let flusher = std::thread::Builder::new()
        .name("flush".into())
        .spawn(move || flusher.run(reader, &runtime))
        .context("a thread for the flusher")?;

    let admission =
        Admission::new(writer.handle(), Arc::clone(&metrics), config.ingest_rules(), keys.clone());
    let stop_ingest = CancellationToken::new();
    let ingest = TaskTracker::new();
    let quarantine = admission.quarantine();
    ingest.spawn(keys::watch(Arc::clone(&accounts), keys, key_file, stop_ingest.clone()));
    hep.spawn(&ingest, &admission, &stop_ingest)?;
    ingest.close();

    let stop_http = CancellationToken::new();
    let servers = TaskTracker::new();
    let ready_metrics = Arc::clone(&metrics);
    let spool_stats = writer.stats();
    let (metrics_spool, ready_spool) = (Arc::clone(&spool_stats), spool_stats);
    servers.spawn(retention::run(Arc::clone(&store), retention, Arc::clone(&metrics), stop_http.clone()));
    let search = Search::new(store, paths).counting(metrics.duplicates.clone());
    let customer_url = public_url(&config.customer.public_url, customer_address);
    let links = customer::Links::new(Arc::clone(&accounts), customer_url, config.customer.link_max_seconds);
    let turns = |places| Turns::new(places, metrics.turns.clone());
    // Customers and engineers take no turns from each other.
    let (engineers, customers) = (turns(budget.searches().div_ceil(2)), turns(budget.searches() / 2));
    let operator = api::router(ApiState {
        search: search.clone().within(engineers.places()),
        turns: engineers,
        accounts,
        links: links.clone(),
        tally: Arc::clone(&metrics.tally),
        quarantine,
        metrics: Arc::new(move || metrics.text(&metrics_spool)),
        ready: Arc::new(move || readiness(&ready_metrics, &ready_spool)),
        public_url: config.http.public_url.clone(),
    });
    let search = search.within(customers.places());
    let for_customers =
        customer::router(CustomerState::new(search, links, &config.customer.frame_ancestors, customers));
    servers.spawn(run(http, operator, stop_http.clone()));
    servers.spawn(run(customer, for_customers, stop_http.clone()));
    servers.close();

    print(&format!("hep listening on {hep_address} (udp, tcp)"))?;
    hep_others.iter().try_for_each(|line| print(line))?;
    print(&format!("http listening on http://{http_address}"))?;
    print(&format!("customer listening on http://{customer_address}"))?;
    print("siplens is ready")?;
    signals.wait(|| reload(&read, &admission, hep_tls.as_ref())).await;
    drop(admission);

    // Nothing new comes in, what came in is synced, what is synced is stored; and only then the end.
    tracing::info!("stopping");
    stop_ingest.cancel();
    ingest.wait().await;
    tokio::task::spawn_blocking(move || {
        if let Err(error) = writer.close() {
            tracing::error!(%error, "what was taken in last could not be synced");
        }
        stop_flushing.store(true, Ordering::Release);
        if flusher.join().is_err() {
            tracing::error!("the flusher failed; the spool keeps what waits");
        }
    })
    .await?;
    stop_http.cancel();
    let _timeout = tokio::time::timeout(GRACE, servers.wait()).await;
    Ok(())
}

async fn bind(address: SocketAddr, key: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{key}: {address}"))
}

fn public_url(configured: &str, address: SocketAddr) -> String {
    if configured.is_empty() { format!("http://{address}") } else { configured.to_owned() }
}

/// Why the backend cannot do its work right now, if it can't.
fn readiness(metrics: &Metrics, spool: &SpoolStats) -> Result<(), String> {
    if !spool.snapshot().healthy {
        return Err("the spool cannot write: is the disk full?".into());
    }
    if metrics.is_disk_low() {
        return Err("the disk is nearly full, and nothing of the store is left that may go".into());
    }
    if !metrics.is_spool_readable() {
        return Err("the spool cannot be read".into());
    }
    if !metrics.is_store_up() {
        return Err("the store is away; what comes in waits in the spool".into());
    }
    Ok(())
}

async fn run(listener: TcpListener, router: Router, stop: CancellationToken) {
    // An answer in parts would wait at its end for the other side's acknowledgement, up to 40 ms.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "answers may be late");
        }
    });
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "http server ended");
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Waits for one that ends the process, and does `reload` at each SIGHUP meanwhile.
    async fn wait(mut self, reload: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => reload(),
            }
        }
    }
}

/// Puts in force what can change while the backend runs. Settings with a mistake change nothing.
fn reload(read: impl Fn() -> Result<Config, ConfigError>, admission: &Admission, tls: Option<&Tls>) {
    match read() {
        Ok(config) => {
            admission.replace_rules(config.ingest_rules());
            tracing::info!("the settings of [admission] are read again; all others take a restart");
        }
        Err(error) => tracing::error!(%error, "the settings cannot be read; those in force stay"),
    }
    if let Some(Err(error)) = tls.map(Tls::reload) {
        tracing::error!(%error, "hep over tls: the certificate is of no use; the one in force stays");
    }
}
