//! Two backends on one database; what cannot be stored; a part of the store that is damaged. The rest goes on.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Agent, Backend, Observed, Postgres, eventually};

use crate::numbered::{all_there, exactly, message};

const LIMIT: Duration = Duration::from_secs(60);

/// Copies that searches left out.
const DUPLICATES: &str = "siplens_search_duplicates_total";

#[test]
fn two_backends_fed_the_same_traffic_show_each_message_once() -> Result<()> {
    const HALF: u64 = 1500;
    let postgres = Postgres::start()?;
    let one = Backend::start_on(postgres.url())?;
    let mut other = Backend::start_on(postgres.url())?;
    let traffic: Vec<_> = (0..2 * HALF).map(|n| message("both", n).encode()).collect::<Result<_>>()?;
    let (first, second) = traffic.split_at(usize::try_from(HALF)?);

    let mut to_one = Agent::tcp(one.hep())?;
    let mut to_other = Agent::tcp(other.hep())?;
    for packet in first {
        to_one.send_bytes(packet)?;
        to_other.send_bytes(packet)?;
    }
    // What only one of them has is found, too.
    other.kill()?;
    other.restart()?;
    let mut to_other = Agent::tcp(other.hep())?;
    for packet in second {
        to_one.send_bytes(packet)?;
        to_other.send_bytes(packet)?;
    }
    for backend in [&one, &other] {
        eventually("all messages", LIMIT, || {
            let session = backend.api().get("/api/v1/sessions/both")?;
            ensure!(session["messages"] == 2 * HALF, "{}", session["messages"]);
            Ok(())
        })?;
    }
    eventually("what the second one stored", LIMIT, || {
        let before = one.api().metric(DUPLICATES)?;
        one.api().get("/api/v1/sessions/both")?;
        let copies = one.api().metric(DUPLICATES)? - before;
        ensure!(copies >= HALF as f64, "only {copies} messages are stored twice, so this would prove little");
        Ok(())
    })?;
    for backend in [&one, &other] {
        let listed = backend.api().all("/api/v1/messages?correlation_id=both&limit=77")?;
        let mut calls: Vec<_> = listed.iter().filter_map(|item| item["call_id"].as_str()).collect();
        ensure!(calls.windows(2).all(|pair| pair[0] > pair[1]), "not newest first, or one twice");
        calls.dedup();
        assert_eq!(calls.len() as u64, 2 * HALF);
        let session = backend.api().get("/api/v1/sessions/both")?;
        assert_eq!((&session["calls"], &session["partial"]), (&(2 * HALF).into(), &false.into()));
    }
    Ok(())
}

/// Makes a database refuse large rows, as it refuses what its types cannot hold.
const POISON: &str = "
    create function refuse() returns trigger language plpgsql as $$ begin
        if octet_length(new.blob) > 20000 then raise exception 'too large' using errcode = '22000'; end if;
        return new;
    end $$;
    create trigger refuse before insert on pack for each row execute function refuse();
";

#[test]
fn what_a_database_refuses_stands_in_the_way_of_nothing() -> Result<()> {
    let postgres = Postgres::start()?;
    let backend = Backend::start_on(postgres.url())?;
    postgres.run(POISON)?;
    let mut agent = Agent::tcp(backend.hep())?;
    for n in 0..50 {
        agent.send(&message("healthy", n))?;
    }
    // What does not compress well enough.
    let mut state = 1_u64;
    let noise: String = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{:08x}", state >> 32)
    })
    .take(6000)
    .collect();
    let poison = format!("MESSAGE sip:b@h SIP/2.0\r\nCall-ID: poison@host\r\nCSeq: 1 MESSAGE\r\n\r\n{noise}");
    agent.send(&Observed::raw(poison))?;
    for n in 50..100 {
        agent.send(&message("healthy", n))?;
    }
    exactly(&backend, "healthy", 100)?;
    eventually("one message that was left out", LIMIT, || {
        let left_out = backend.api().metric("siplens_store_left_out_messages_total")?;
        ensure!(left_out == 1.0, "{left_out}");
        Ok(())
    })?;
    assert_eq!(backend.api().fetch("/api/v1/calls/poison%40host")?.status, 404);
    assert_eq!(backend.api().fetch("/readyz")?.status, 200);
    let kept = fs::read_dir(backend.data().join("quarantine"))?
        .map(|file| Ok(fs::read(file?.path())?))
        .collect::<Result<Vec<_>>>()?
        .concat();
    ensure!(kept.windows(64).any(|octets| octets == &noise.as_bytes()[..64]), "its octets are not kept");
    Ok(())
}

/// Files of the embedded store that hold messages.
fn buckets(backend: &Backend) -> Result<Vec<PathBuf>> {
    let mut found: Vec<_> = fs::read_dir(backend.data().join("store"))?
        .map(|file| Ok(file?.path()))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with("bucket-") && name.ends_with(".sqlite"))
        })
        .collect();
    found.sort();
    Ok(found)
}

#[test]
fn a_damaged_bucket_is_set_aside_and_the_rest_serves() -> Result<()> {
    let mut backend = Backend::start()?;
    let send = |backend: &Backend, session: &str| -> Result<()> {
        let mut agent = Agent::tcp(backend.hep())?;
        for n in 0..300 {
            agent.send(&message(session, n))?;
        }
        exactly(backend, session, 300)
    };
    send(&backend, "old")?;
    backend.stop()?;
    let old = buckets(&backend)?;
    ensure!(!old.is_empty(), "no bucket");
    backend.restart()?;
    send(&backend, "new")?;
    backend.stop()?;
    for bucket in &old {
        let mut file = OpenOptions::new().write(true).open(bucket)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&[0xa5; 4096])?;
    }

    backend.restart()?;
    all_there(&backend, "new", 300)?;
    let list = backend.api().get("/api/v1/messages?limit=1000")?;
    assert_eq!(list["partial"], true, "something is missing, and the list says so");
    assert_eq!(list["items"].as_array().context("items")?.len(), 300);
    let damaged = backend.api().metric("siplens_store_damaged_files")?;
    ensure!(damaged == old.len() as f64, "{damaged} of {}", old.len());
    send(&backend, "newer")?;
    // What a tool may still save is not deleted.
    let kept = fs::read_dir(backend.data().join("store"))?
        .map(|file| Ok(fs::read(file?.path())?))
        .collect::<Result<Vec<_>>>()?;
    let marked = kept.iter().filter(|octets| octets.starts_with(&[0xa5; 4096])).count();
    assert_eq!(marked, old.len());
    Ok(())
}
