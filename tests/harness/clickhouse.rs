//! A ClickHouse server of the case's own, in a temporary directory and on a port of its own.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::process::Process;
use crate::{paths, port};

const READY: Duration = Duration::from_secs(60);

/// A running server.
pub struct Clickhouse {
    port: u16,
    url: String,
    process: Process,
    dir: TempDir,
}

impl Clickhouse {
    /// Whether the server is installed.
    fn is_installed() -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
        folders.any(|folder| folder.join("clickhouse-server").is_file())
    }

    /// Whether Debian's server is installed; says, if not, that this case is skipped.
    pub fn is_there_for(case: &str) -> bool {
        if !Self::is_installed() {
            crate::skipped(case, "clickhouse-server is not installed");
        }
        Self::is_installed()
    }

    /// Starts one with `scripts/clickhouse`.
    pub fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("siplens-clickhouse-").tempdir()?;
        let port = port::free()?;
        let (process, url) = spawn(&dir, port)?;
        Ok(Self { port, url, process, dir })
    }

    /// The URL of a database on it, which the backend makes.
    pub fn url(&self) -> String {
        format!("{}/siplens", self.url)
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Stops it where it is, as a machine that hangs.
    pub fn freeze(&self) -> Result<()> {
        self.process.freeze()
    }

    /// Lets it go on.
    pub fn thaw(&self) -> Result<()> {
        self.process.thaw()
    }

    /// Starts it again on the same data and port.
    pub fn restart(&mut self) -> Result<()> {
        (self.process, self.url) = spawn(&self.dir, self.port)?;
        Ok(())
    }
}

fn spawn(dir: &TempDir, port: u16) -> Result<(Process, String)> {
    let mut command = Command::new(paths::repository().join("scripts/clickhouse"));
    command.arg(dir.path()).arg(port.to_string());
    let mut process = Process::start("clickhouse", command, &dir.path().join("start.log"), true)?;
    let mut url = String::new();
    BufReader::new(process.take_stdout().context("no standard output")?).read_line(&mut url)?;
    let Some((server, _)) = url.rsplit_once('/') else { bail!("no server\n{}", process.log_tail()) };
    process.wait_ready(READY, || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    Ok((process, server.to_owned()))
}
