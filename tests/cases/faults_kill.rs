//! An agent that numbers its packets and sends again what was not acknowledged, and a backend that is killed again and
//! again: everything is there once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Backend, Postgres, eventually};

use crate::numbered::{exactly, message};

const LIMIT: Duration = Duration::from_secs(60);
const SESSION: &str = "killed";
const STREAM: u64 = 0x5115_1e25;
const KILLS: u64 = 10;

/// Octets of an acknowledgement.
const ANSWER_LEN: usize = 28;

/// What one agent has sent over all of its connections.
#[derive(Default)]
struct Numbers {
    sent: AtomicU64,
    acknowledged: AtomicU64,
}

impl Numbers {
    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire)
    }

    /// Sends what is not acknowledged, and on, until the backend is gone or `ended`.
    fn send(&self, mut stream: TcpStream, ended: impl Fn(u64) -> bool) -> Result<()> {
        let mut number = self.acknowledged() + 1;
        while !ended(number) {
            let mut packet = Vec::new();
            ensure!(hep::append_sequence(&message(SESSION, number - 1).encode()?, &mut packet));
            hep::Sequence { stream: STREAM, number, first: 1 }.stamp(&mut packet);
            if stream.write_all(&packet).is_err() {
                break;
            }
            self.sent.fetch_max(number, Ordering::AcqRel);
            number += 1;
            std::thread::sleep(Duration::from_micros(100));
        }
        Ok(())
    }

    /// Takes acknowledgements until the connection ends.
    fn listen(&self, mut stream: TcpStream) -> Result<()> {
        let mut answer = [0; ANSWER_LEN];
        while stream.read_exact(&mut answer).is_ok() {
            let told = hep::decode(&answer)?.acknowledged.context("no acknowledgement")?;
            ensure!(told.stream == STREAM, "an acknowledgement of another stream: {told:?}");
            let before = self.acknowledged.fetch_max(told.number, Ordering::AcqRel);
            ensure!(told.number <= self.sent.load(Ordering::Acquire), "{told:?} was never sent");
            ensure!(told.number == 0 || told.number >= before, "it went back from {before} to {told:?}");
        }
        Ok(())
    }

    /// Is connected while `meanwhile` is at work, and sends as long as `ended` does not hold.
    fn connected(
        &self,
        backend: &mut Backend,
        ended: impl Fn(u64) -> bool + Sync,
        meanwhile: impl FnOnce(&mut Backend) -> Result<()>,
    ) -> Result<()> {
        let stream = TcpStream::connect(backend.hep())?;
        let (writing, reading) = (stream.try_clone()?, stream.try_clone()?);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sender =
                scope.spawn(|| self.send(writing, |number| over.load(Ordering::Relaxed) || ended(number)));
            let listener = scope.spawn(|| self.listen(reading));
            let result = meanwhile(backend);
            over.store(true, Ordering::Relaxed);
            let _ended = stream.shutdown(std::net::Shutdown::Both);
            for thread in [sender, listener] {
                thread.join().map_err(|_| anyhow::anyhow!("a thread of the agent panicked"))??;
            }
            result
        })
    }
}

fn ten_kills(mut backend: Backend) -> Result<()> {
    let numbers = Numbers::default();
    for kill in 1..=KILLS {
        let target = numbers.acknowledged() + 100 * kill;
        numbers.connected(
            &mut backend,
            |_| false,
            |backend| {
                eventually("acknowledgements", LIMIT, || {
                    let count = numbers.acknowledged();
                    ensure!(count >= target, "{count} of {target}");
                    Ok(())
                })?;
                backend.kill()
            },
        )?;
        backend.restart()?;
    }
    let all = numbers.sent.load(Ordering::Acquire);
    numbers.connected(
        &mut backend,
        |number| number > all,
        |_| {
            eventually("the last acknowledgement", LIMIT, || {
                let count = numbers.acknowledged();
                ensure!(count == all, "{count} of {all}");
                Ok(())
            })
        },
    )?;
    exactly(&backend, SESSION, all)
}

#[test]
fn all_that_a_numbering_agent_sent_is_there_once_after_ten_kills() -> Result<()> {
    ten_kills(Backend::start()?)
}

#[test]
fn all_that_a_numbering_agent_sent_is_there_once_after_ten_kills_with_postgresql() -> Result<()> {
    let postgres = Postgres::start()?;
    ten_kills(Backend::start_on(postgres.url())?)
}
