//! The service: what starts in which order, and how it stops without losing what was taken in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounts::{Accounts, AccountsError};
use crate::api::{self, ApiState};
use crate::cli::print;
use crate::config::Config;
use crate::customer::{self, CustomerState};
use crate::databases;
use crate::flush::Flusher;
use crate::ingest::keys::{Keys, KnownKey};
use crate::ingest::{Admission, tcp, udp};
use crate::search::Search;
use crate::spool::{self, Spool, SpoolConfig, SpoolStats};
use crate::telemetry::Metrics;

/// How often a free port is looked for that both UDP and TCP can have.
const PORT_TRIES: u32 = 20;

/// How often agents' keys are read again.
const KEYS_INTERVAL: Duration = Duration::from_secs(5);

/// How long open HTTP requests may take to end at a stop.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When something cannot be opened or bound.
pub async fn serve(config: &Config) -> Result<()> {
    let spool_dir = databases::data_dir(config)?.join("spool");
    let (store, accounts) = databases::open(config, &spool::identity(&spool_dir)?).await?;
    let metrics = Arc::new(Metrics::default());
    let keys = Keys::default();
    load_keys(&accounts, &keys).await?;
    if config.admission.require_key && keys.is_empty() {
        tracing::warn!(
            "admission.require_key: there is no key yet, so nothing is taken; make one with `siplens agent-key add NAME`"
        );
    }
    let checkpoint = store.checkpoint().await?;
    let spool_config = SpoolConfig {
        dir: spool_dir,
        max_bytes: config.spool.max_bytes,
        segment_bytes: config.spool.segment_bytes,
        sync_interval: Duration::from_millis(config.spool.sync_milliseconds),
        ..SpoolConfig::default()
    };
    let (writer, reader) = Spool::open(spool_config, checkpoint)?;

    let (hep_udp, hep_tcp) = bind_hep(config).await?;
    let hep_address = hep_tcp.local_addr()?;
    let http = bind(config.http.listen, "http.listen").await?;
    let customer = bind(config.customer.listen, "customer.listen").await?;
    let (http_address, customer_address) = (http.local_addr()?, customer.local_addr()?);
    // Before anybody can know that this process runs: an early SIGTERM must stop it as cleanly as a late one.
    let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);

    // From here on nothing fails: start everything.
    let paths = Arc::new(config.events.paths());
    let stop_flushing = Arc::new(AtomicBool::new(false));
    let flusher = Flusher {
        store: Arc::clone(&store),
        metrics: Arc::clone(&metrics),
        interval: Duration::from_millis(config.spool.flush_milliseconds),
        inflated_bytes: config.hep.inflated_bytes,
        paths: Arc::clone(&paths),
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
    let idle = Some(Duration::from_secs(config.hep.tcp_idle_seconds)).filter(|idle| !idle.is_zero());
    let limits = tcp::Limits { connections: config.hep.tcp_connections, idle };
    let quarantine = admission.quarantine();
    ingest.spawn(watch_keys(Arc::clone(&accounts), keys, stop_ingest.clone()));
    ingest.spawn(tcp::accept(hep_tcp, limits, admission.clone(), stop_ingest.clone()));
    ingest.spawn({
        let stop = stop_ingest.clone();
        async move {
            if let Err(error) = udp::receive(hep_udp, admission, stop).await {
                tracing::error!(%error, "udp ingest ended");
            }
        }
    });
    ingest.close();

    let stop_http = CancellationToken::new();
    let servers = TaskTracker::new();
    let ready_metrics = Arc::clone(&metrics);
    let spool_stats = writer.stats();
    let (metrics_spool, ready_spool) = (Arc::clone(&spool_stats), spool_stats);
    let search = Search::new(store, paths);
    let customer_url = public_url(&config.customer.public_url, customer_address);
    let links =
        customer::Links::open(Arc::clone(&accounts), customer_url, config.customer.link_max_seconds).await?;
    let operator = api::router(ApiState {
        search: search.clone(),
        accounts,
        links: links.clone(),
        tally: Arc::clone(&metrics.tally),
        quarantine,
        metrics: Arc::new(move || metrics.text(&metrics_spool, hep_address.port())),
        ready: Arc::new(move || readiness(&ready_metrics, &ready_spool)),
        public_url: config.http.public_url.clone(),
    });
    let customers = customer::router(CustomerState::new(search, links, &config.customer.frame_ancestors));
    servers.spawn(run(http, operator, stop_http.clone()));
    servers.spawn(run(customer, customers, stop_http.clone()));
    servers.close();

    print(&format!("hep listening on {hep_address} (udp, tcp)"))?;
    print(&format!("http listening on http://{http_address}"))?;
    print(&format!("customer listening on http://{customer_address}"))?;
    print("siplens is ready")?;
    wait_for_signal(terminate, interrupt).await;

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

/// Puts the keys in force that agents may send with.
async fn load_keys(accounts: &Accounts, keys: &Keys) -> Result<(), AccountsError> {
    let known = accounts.agent_keys().await?;
    keys.replace(known.iter().map(|key| KnownKey { hash: key.hash, agent_id: key.agent_id }).collect());
    Ok(())
}

/// Takes over keys that are added and removed while the backend runs. While they cannot be read, those it has stay in
/// force.
async fn watch_keys(accounts: Arc<Accounts>, keys: Keys, stop: CancellationToken) {
    let mut readable = true;
    loop {
        tokio::select! {
            () = tokio::time::sleep(KEYS_INTERVAL) => {}
            () = stop.cancelled() => return,
        }
        let loaded = load_keys(&accounts, &keys).await;
        if let (true, Err(error)) = (readable, &loaded) {
            tracing::error!(%error, "agents' keys cannot be read; those known so far stay in force");
        }
        readable = loaded.is_ok();
    }
}

/// Binds UDP and TCP to one address; for port 0, to one free port.
async fn bind_hep(config: &Config) -> Result<(udp::Bound, TcpListener)> {
    let wanted = config.hep.listen;
    let context = || format!("hep.listen: {wanted}");
    let mut tries = 0;
    loop {
        let tcp = TcpListener::bind(wanted).await.with_context(context)?;
        let address = tcp.local_addr()?;
        match udp::bind(address, config.hep.udp_buffer_bytes) {
            Ok(udp) => {
                warn_of_small_buffer(config.hep.udp_buffer_bytes, udp.buffer_bytes);
                return Ok((udp, tcp));
            }
            Err(_) if wanted.port() == 0 && tries < PORT_TRIES => tries += 1,
            Err(error) => return Err(error).with_context(context),
        }
    }
}

fn warn_of_small_buffer(asked: usize, granted: usize) {
    // The kernel reports twice what it grants, for its own book-keeping.
    if granted / 2 < asked {
        tracing::warn!(
            asked,
            granted = granted / 2,
            "hep.udp_buffer_bytes: the kernel gave less; raise net.core.rmem_max, or bursts will be dropped"
        );
    }
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
    if !metrics.is_spool_readable() {
        return Err("the spool cannot be read".into());
    }
    if !metrics.is_store_up() {
        return Err("the store is away; what comes in waits in the spool".into());
    }
    Ok(())
}

async fn run(listener: TcpListener, router: Router, stop: CancellationToken) {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "http server ended");
    }
}

async fn wait_for_signal(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
