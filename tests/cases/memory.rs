//! Resident memory stays within its budget, whatever comes at once; and while the store is away it does not grow.
//!
//! SIPLENS_MEMORY_SECONDS says for how long (15 if it is not set).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::process::Process;
use harness::{Agent, Backend, BackendSetup, Observed, Postgres, eventually};

use crate::numbered::{DURABLE, STORED, exactly, message};

/// `memory.budget_bytes` of these cases, the least there is.
const BUDGET_MIB: u64 = 128;

/// How much more may be resident at the end of an outage than after its first third, MiB.
const GROWTH_MIB: u64 = 12;

const LIMIT: Duration = Duration::from_secs(120);

fn load() -> Result<Duration> {
    let seconds = std::env::var("SIPLENS_MEMORY_SECONDS").unwrap_or_else(|_| "15".to_owned());
    Ok(Duration::from_secs(seconds.parse().context("SIPLENS_MEMORY_SECONDS")?))
}

/// What the system says of the backend's memory, MiB: `VmRSS`, resident now, or `VmHWM`, at most so far.
fn mib(backend: &Backend, what: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", backend.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)).with_context(|| what.to_owned())?;
    let kib: u64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024)
}

fn config() -> String {
    format!("[memory]\nbudget_bytes = {}\n[hep]\nhttp_listen = \"127.0.0.1:0\"\n", BUDGET_MIB << 20)
}

/// Datagrams of 8 KiB, as fast as they can be sent.
fn flood(backend: &Backend, stop: &AtomicBool) -> Result<u64> {
    let mut agent = Agent::udp(backend.hep())?;
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut large = Observed::request("MESSAGE", &format!("flood-{sent}"), 1).in_session("flood");
        large.payload.extend_from_slice(&b"incompressible? no, but long. ".repeat(270));
        agent.send(&large)?;
        sent += 1;
    }
    Ok(sent)
}

/// Connections that send the first half of the longest packet there is, and no more.
fn half_packets(backend: &Backend, stop: &AtomicBool) -> Result<()> {
    let mut half = b"HEP3\xff\xff".to_vec();
    half.resize(32 * 1024, 0);
    let mut streams = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        if streams.len() < 300 {
            // One that has to give way is closed before it has sent all.
            let mut stream = TcpStream::connect(backend.hep())?;
            let _written = stream.write_all(&half);
            streams.push(stream);
        } else {
            streams.remove(0);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Asks for as much as can be asked for at once.
fn search(backend: &Backend, stop: &AtomicBool, answered: &AtomicU64, busy: &AtomicU64) -> Result<()> {
    let paths = [
        "/api/v1/messages?limit=1000&contains=nowhere+to+be+found",
        "/api/v1/messages?limit=1000",
        "/api/v1/calls?limit=1000",
        "/api/v1/messages?limit=1000&correlation_id=flood",
        "/api/v1/sessions/flood",
        "/api/v1/sessions/tcp/calls?limit=1000",
        "/api/v1/calls/flood-1/export?format=pcap",
        "/api/v1/calls/tcp-000001/export?format=json",
    ];
    for path in paths.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let answer = backend.api().fetch(path)?;
        match (answer.status, answer.error_code().as_deref()) {
            (200 | 404, _) => answered.fetch_add(1, Ordering::Relaxed),
            (503, Some("busy")) => busy.fetch_add(1, Ordering::Relaxed),
            _ => anyhow::bail!("{path}: {} {}", answer.status, answer.text()),
        };
    }
    Ok(())
}

/// Asks for a large answer and does not read it.
fn never_reads(backend: &Backend) -> Result<TcpStream> {
    let address = backend.http_url().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET /api/v1/messages?limit=1000 HTTP/1.1\r\nhost: {address}\r\n\r\n")?;
    Ok(stream)
}

/// Traffic of calls, as fast as it is taken, until it is killed.
fn endless_load(backend: &Backend) -> Result<Process> {
    let target = backend.hep().to_string();
    let load = ["--target", &target, "--messages", "100000000", "--simulated-rate", "1000"];
    backend.begin(&[&["bench", "ingest"], load.as_slice()].concat())
}

#[test]
fn memory_stays_within_its_budget_under_floods_searches_and_half_packets_at_once() -> Result<()> {
    let backend = Backend::start_with(BackendSetup { config: Some(config()), ..BackendSetup::default() })?;
    let (stop, answered, busy) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let mut bench = endless_load(&backend)?;
    let sent = std::thread::scope(|scope| {
        let tcp = scope.spawn(|| -> Result<u64> {
            let mut agent = Agent::tcp(backend.hep())?;
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                agent.send(&message("tcp", sent))?;
                sent += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(sent)
        });
        let mut others = vec![
            scope.spawn(|| flood(&backend, &stop).map(drop)),
            scope.spawn(|| half_packets(&backend, &stop)),
        ];
        others.extend((0..40).map(|_| scope.spawn(|| search(&backend, &stop, &answered, &busy))));
        let result = load().and_then(|load| {
            let (begun, mut silent) = (Instant::now(), Vec::new());
            while begun.elapsed() < load {
                silent.push(never_reads(&backend)?);
                std::thread::sleep(Duration::from_millis(500));
                let peak = mib(&backend, "VmHWM")?;
                ensure!(peak <= BUDGET_MIB, "{peak} MiB resident after {:?}", begun.elapsed());
            }
            // They are still open, and have been answered something or will be.
            silent.iter_mut().try_for_each(|stream| stream.set_nonblocking(true))?;
            Ok(silent.iter_mut().filter_map(|stream| stream.read(&mut [0; 1]).ok()).count())
        });
        stop.store(true, Ordering::Relaxed);
        let sent = tcp.join().map_err(|_| anyhow::anyhow!("the agent panicked"))?;
        for thread in others {
            thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        result?;
        sent
    })?;
    bench.kill()?;
    let (answered, busy) = (answered.into_inner(), busy.into_inner());
    ensure!(answered > 0, "no search was answered");
    ensure!(backend.api().metric("siplens_search_refused_total")? >= busy as f64);
    // What an agent sent over a stream of its own meanwhile is there.
    ensure!(sent > 100, "only {sent} were sent");
    exactly(&backend, "tcp", sent)?;
    let (peak, stored) = (mib(&backend, "VmHWM")?, backend.api().metric(STORED)?);
    eprintln!(
        "{peak} MiB resident at most; {stored} messages, {answered} searches answered, {busy} told to come again"
    );
    ensure!(peak <= BUDGET_MIB, "{peak} MiB resident");
    Ok(())
}

#[test]
fn memory_does_not_grow_while_the_store_is_away_under_load() -> Result<()> {
    let mut postgres = Postgres::start()?;
    let backend = Backend::start_with(BackendSetup {
        database_url: Some(postgres.url().to_owned()),
        config: Some(config()),
        ..BackendSetup::default()
    })?;
    let mut bench = endless_load(&backend)?;
    eventually("stored messages", LIMIT, || {
        ensure!(backend.api().metric(STORED)? > 1000.0);
        Ok(())
    })?;
    postgres.stop()?;
    let durable = backend.api().metric(DURABLE)?;
    let (begun, load) = (Instant::now(), load()?);
    let (mut early, mut late) = (0, 0);
    while begun.elapsed() < load {
        std::thread::sleep(Duration::from_millis(250));
        let resident = mib(&backend, "VmRSS")?;
        let which = if begun.elapsed() < load / 3 { &mut early } else { &mut late };
        *which = resident.max(*which);
    }
    let spooled = backend.api().metric(DURABLE)? - durable;
    eprintln!(
        "{early} MiB in the first third of the outage, {late} MiB at most later; {spooled} messages into the spool"
    );
    ensure!(spooled > 5000.0, "only {spooled} messages came");
    ensure!(late <= early + GROWTH_MIB && late <= BUDGET_MIB, "{early} MiB, then {late} MiB");
    bench.kill()?;
    postgres.start_again()?;
    let durable = backend.api().metric(DURABLE)?;
    eventually("all messages", LIMIT, || {
        let stored = backend.api().metric(STORED)?;
        ensure!(stored >= durable, "{stored} of {durable}");
        Ok(())
    })?;
    let peak = mib(&backend, "VmHWM")?;
    ensure!(peak <= BUDGET_MIB, "{peak} MiB resident at most");
    Ok(())
}
