//! A backend of the bench's own: this program as another process, in a folder that goes with it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How long a backend may take to stop: it stores first what waits.
const STOP: Duration = Duration::from_secs(120);

/// A backend that runs; dropped, it is killed, and its folder goes.
pub struct Backend {
    child: Child,
    folder: PathBuf,
    /// Where it takes HEP.
    pub hep: SocketAddr,
    /// Where engineers ask, `http://…`.
    pub http: String,
}

impl Backend {
    /// Starts one in a new folder below `parent`, on SQLite or the database of this URL.
    ///
    /// # Errors
    /// When it does not get ready; with what it logged.
    pub fn start(parent: &Path, database_url: &str, config: Option<&Path>) -> Result<Self> {
        let folder = parent.join(format!("siplens-bench-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&folder).with_context(|| folder.display().to_string())?;
        let mut backend = Self {
            child: spawn(&folder, database_url, config).inspect_err(|_| drop(fs::remove_dir_all(&folder)))?,
            folder,
            hep: SocketAddr::from(([127, 0, 0, 1], 0)),
            http: String::new(),
        };
        let output = backend.child.stdout.take().context("no standard output")?;
        for line in BufReader::new(output).lines() {
            let line = line?;
            let word = || line.split(' ').nth(3).unwrap_or_default();
            match line.as_str() {
                "siplens is ready" => return Ok(backend),
                text if text.starts_with("hep listening on ") => backend.hep = word().parse()?,
                text if text.starts_with("http listening on ") => backend.http = word().to_owned(),
                _ => {}
            }
        }
        bail!("the backend did not start: {}", backend.log().trim())
    }

    /// The process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where the embedded store has its files.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.folder.join("data/store")
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Stops it as a service manager would.
    ///
    /// # Errors
    /// When it does not stop, or not with status 0.
    pub fn stop(&mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let begun = Instant::now();
        while begun.elapsed() < STOP {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the backend ended with {status}: {}", self.log().trim());
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the backend did not stop")
    }
}

fn spawn(folder: &Path, database_url: &str, config: Option<&Path>) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("serve").arg("--data-dir").arg(folder.join("data"));
    for flag in ["--hep-listen", "--http-listen", "--customer-listen"] {
        command.args([flag, "127.0.0.1:0"]);
    }
    // Also where it is empty: neither the environment nor a file leads to a database that holds something.
    command.args(["--database-url", database_url]).env_remove("SIPLENS_CONFIG");
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    let log = File::create(folder.join("log"))?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    command.spawn().context("the backend")
}

impl Drop for Backend {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _killed = self.child.kill();
            let _ended = self.child.wait();
        }
        let _gone = fs::remove_dir_all(&self.folder);
    }
}
