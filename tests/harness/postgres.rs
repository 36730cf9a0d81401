//! A PostgreSQL server of the case's own, in a temporary directory, reached by a Unix socket.

use std::io::{BufRead, BufReader};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::paths;
use crate::process::Process;

const READY: Duration = Duration::from_secs(60);

/// A running server with one empty database.
pub struct Postgres {
    url: String,
    _process: Process,
    _dir: TempDir,
}

impl Postgres {
    /// Starts one with `scripts/postgres`, which also knows what to do as root.
    pub fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("siplens-postgres-").tempdir()?;
        let mut command = Command::new(paths::repository().join("scripts/postgres"));
        command.arg(dir.path());
        let log = dir.path().join("postgres.log");
        let mut process = Process::start("postgres", command, &log, true)?;

        let mut url = String::new();
        BufReader::new(process.take_stdout().context("no standard output")?).read_line(&mut url)?;
        if url.is_empty() {
            bail!("no server\n{}", process.log_tail());
        }
        let socket = dir.path().join(".s.PGSQL.5432");
        process.wait_ready(READY, || std::os::unix::net::UnixStream::connect(&socket).is_ok())?;
        Ok(Self { url: url.trim().to_owned(), _process: process, _dir: dir })
    }

    /// The address of its database.
    pub fn url(&self) -> &str {
        &self.url
    }
}
