//! A PostgreSQL server of the case's own, in a temporary directory, reached by a Unix socket.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::paths;
use crate::process::Process;

const READY: Duration = Duration::from_secs(60);

/// A running server with one empty database.
pub struct Postgres {
    url: String,
    process: Process,
    dir: TempDir,
}

impl Postgres {
    /// Starts one with `scripts/postgres`, which also knows what to do as root.
    pub fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("siplens-postgres-").tempdir()?;
        let (url, process) = serve(dir.path(), None)?;
        Ok(Self { url, process, dir })
    }

    /// Starts a streaming replica of this one.
    pub fn replica(&self) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("siplens-replica-").tempdir()?;
        let (url, process) = serve(dir.path(), Some(self.dir.path()))?;
        Ok(Self { url, process, dir })
    }

    /// The address of its database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its processes stand still: connections stay open, nothing is answered.
    pub fn freeze(&self) -> Result<()> {
        self.process.freeze()
    }

    /// They go on.
    pub fn thaw(&self) -> Result<()> {
        self.process.thaw()
    }

    /// Stops it at once, as a crash does: connections are cut, and who connects is refused.
    pub fn stop(&mut self) -> Result<()> {
        self.process.quit()
    }

    /// Starts it again on the same data.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = serve(self.dir.path(), None)?.1;
        Ok(())
    }

    /// Runs SQL in its first database; what it prints.
    pub fn run(&self, sql: &str) -> Result<String> {
        Ok(self.psql("siplens", sql)?.trim().to_owned())
    }

    /// The address of another database of it.
    pub fn url_of(&self, database: &str) -> String {
        self.url.replace("/siplens?", &format!("/{database}?"))
    }

    /// Runs statements; answers what they select, a line for each row.
    pub fn psql(&self, database: &str, statements: &str) -> Result<String> {
        let mut command = Command::new("psql");
        command.args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set",
            "ON_ERROR_STOP=1",
            "--dbname",
        ]);
        command
            .arg(self.url_of(database))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("psql")?;
        child.stdin.take().context("no standard input")?.write_all(statements.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }
}

fn serve(dir: &Path, primary: Option<&Path>) -> Result<(String, Process)> {
    let mut command = Command::new(paths::repository().join("scripts/postgres"));
    command.arg(dir).args(primary);
    let mut process = Process::start("postgres", command, &dir.join("postgres.log"), true)?;
    let mut url = String::new();
    BufReader::new(process.take_stdout().context("no standard output")?).read_line(&mut url)?;
    if url.is_empty() {
        bail!("no server\n{}", process.log_tail());
    }
    // Its socket is there before it answers.
    process.wait_ready(READY, || {
        Command::new("pg_isready").arg("--quiet").arg("--host").arg(dir).status().is_ok_and(|s| s.success())
    })?;
    Ok((url.trim().to_owned(), process))
}
