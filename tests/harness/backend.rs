//! The real backend, on free ports and a data directory of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::api::{Api, encode};
use crate::paths;
use crate::process::Process;
use crate::wait::eventually;

const READY: Duration = Duration::from_secs(60);
/// From a message's arrival until a search finds it: queue, spool, flush to the store.
const FOUND: Duration = Duration::from_secs(30);

/// How the backend is to be started.
#[derive(Clone, Debug, Default)]
pub struct BackendSetup {
    /// `--database-url`; SQLite below the data directory if none.
    pub database_url: Option<String>,
    /// The text of a configuration file.
    pub config: Option<String>,
    /// More `SIPLENS_*` variables.
    pub env: BTreeMap<String, String>,
}

/// A running backend.
pub struct Backend {
    setup: BackendSetup,
    process: Process,
    hep: SocketAddr,
    http: String,
    customer: String,
    /// Further listeners, by the name they are announced under.
    others: BTreeMap<String, String>,
    dir: TempDir,
}

impl Backend {
    /// Starts it with SQLite and no configuration file.
    pub fn start() -> Result<Self> {
        Self::start_with(BackendSetup::default())
    }

    /// Starts it on PostgreSQL.
    pub fn start_on(database_url: &str) -> Result<Self> {
        Self::start_with(BackendSetup {
            database_url: Some(database_url.to_owned()),
            ..BackendSetup::default()
        })
    }

    /// Starts it as `setup` says.
    pub fn start_with(setup: BackendSetup) -> Result<Self> {
        Self::start_in(tempfile::Builder::new().prefix("siplens-backend-").tempdir()?, setup)
    }

    /// The same in a folder that was prepared: its data are below `data` there.
    pub fn start_in(dir: TempDir, setup: BackendSetup) -> Result<Self> {
        if let Some(text) = &setup.config {
            std::fs::write(dir.path().join("siplens.toml"), text)?;
        }
        let (process, [hep, http, customer], others) =
            spawn(&setup, dir.path(), ["127.0.0.1:0"; 3].map(str::to_owned))?;
        let hep = hep.parse()?;
        Ok(Self { setup, process, hep, http, customer, others, dir })
    }

    /// Starts it again on the same data and the same ports.
    pub fn restart(&mut self) -> Result<()> {
        ensure!(self.process.exited().is_some(), "the backend is still running");
        let listen = [self.hep.to_string(), authority(&self.http), authority(&self.customer)];
        self.process = spawn(&self.setup, self.dir.path(), listen)?.0;
        Ok(())
    }

    /// SIGTERM; it has to end by itself with status 0.
    pub fn stop(&mut self) -> Result<()> {
        let status = self.process.terminate()?;
        ensure!(status.success(), "the backend ended with {status}\n{}", self.process.log_tail());
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Stops it where it is, as a machine that has no time for it.
    pub fn freeze(&self) -> Result<()> {
        self.process.freeze()
    }

    /// Lets it go on.
    pub fn thaw(&self) -> Result<()> {
        self.process.thaw()
    }

    /// Number of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where it takes HEP over UDP and TCP.
    pub fn hep(&self) -> SocketAddr {
        self.hep
    }

    /// Where it takes HEP besides: `hep-tls`, `hep-unix` or `hep-http`.
    pub fn listener(&self, name: &str) -> Result<&str> {
        self.others.get(name).map(String::as_str).with_context(|| format!("no listener {name} was announced"))
    }

    /// SIGHUP: it reads its configuration again.
    pub fn hang_up(&self) -> Result<()> {
        self.process.hang_up()
    }

    /// Where its configuration file is.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("siplens.toml")
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The operator's listener.
    pub fn api(&self) -> Api {
        Api::new(&self.http)
    }

    /// The customer's listener.
    pub fn customer(&self) -> Api {
        Api::new(&self.customer)
    }

    /// `http://…` of the operator's listener.
    pub fn http_url(&self) -> &str {
        &self.http
    }

    /// `http://…` of the customer's listener.
    pub fn customer_url(&self) -> &str {
        &self.customer
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Runs another subcommand (`user add …`) on the same data.
    pub fn run(&self, arguments: &[&str], stdin: &str) -> Result<Output> {
        let mut command = base(&self.setup, self.dir.path(), arguments)?;
        run(&mut command, stdin)
    }

    /// Starts another subcommand on the same data; its output is in its log.
    pub fn begin(&self, arguments: &[&str]) -> Result<Process> {
        let command = base(&self.setup, self.dir.path(), arguments)?;
        let log = tempfile::Builder::new().prefix("command-").suffix(".log").tempfile_in(self.dir.path())?;
        Process::start(arguments.first().unwrap_or(&"siplens"), command, log.keep()?.1.as_path(), false)
    }

    /// Waits until a call with at least `messages` messages is found and returns it.
    pub fn call(&self, call_id: &str, messages: usize) -> Result<Value> {
        let path = format!("/api/v1/calls/{}", encode(call_id));
        eventually(&format!("call {call_id} with {messages} messages"), FOUND, || {
            let call = self.api().get(&path)?;
            let found = call["messages"].as_array().map_or(0, Vec::len);
            ensure!(found >= messages, "{found} messages: {}", labels(&call));
            Ok(call)
        })
    }

    /// Waits until a session has at least `messages` messages and returns it.
    pub fn session(&self, correlation_id: &str, messages: u64) -> Result<Value> {
        let path = format!("/api/v1/sessions/{}", encode(correlation_id));
        eventually(&format!("session {correlation_id} with {messages} messages"), FOUND, || {
            let session = self.api().get(&path)?;
            let found = session["messages"].as_u64().unwrap_or_default();
            ensure!(found >= messages, "{found} messages");
            Ok(session)
        })
    }

    /// Makes a customer link and returns `(id, url)`.
    pub fn link(&self, request: &Value) -> Result<(String, String)> {
        let link = self.api().post("/api/v1/links", request)?;
        let text = |name: &str| {
            link[name].as_str().map(str::to_owned).with_context(|| format!("link without {name}"))
        };
        Ok((text("id")?, text("url")?))
    }
}

/// `siplens check-config` on a file.
pub fn check_config(config: &Path) -> Result<Output> {
    let dir = tempfile::tempdir()?;
    let mut command = Command::new(paths::backend_binary()?);
    command.arg("check-config").arg("--config").arg(config).current_dir(dir.path()).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("SIPLENS_DATA_DIR", dir.path());
    run(&mut command, "")
}

/// The labels of a call's ladder, for error texts.
fn labels(call: &Value) -> String {
    let rows = call["ladder"]["rows"].as_array().cloned().unwrap_or_default();
    rows.iter().filter_map(|row| row["label"].as_str()).collect::<Vec<_>>().join(", ")
}

fn base(setup: &BackendSetup, dir: &Path, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(paths::backend_binary()?);
    command.args(arguments).current_dir(dir).arg("--data-dir").arg(dir.join("data"));
    if let Some(url) = &setup.database_url {
        command.args(["--database-url", url]);
    }
    let config: PathBuf = dir.join("siplens.toml");
    if config.exists() {
        command.arg("--config").arg(config);
    }
    command.envs(&setup.env);
    Ok(command)
}

fn run(command: &mut Command, stdin: &str) -> Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{command:?}"))?;
    if let Some(mut input) = child.stdin.take() {
        // A subcommand that reads no input may have ended already.
        let _ = input.write_all(stdin.as_bytes());
    }
    Ok(child.wait_with_output()?)
}

/// A process, where it listens (HEP, operator, customer), and further listeners by name.
type Spawned = (Process, [String; 3], BTreeMap<String, String>);

/// Starts `siplens serve` and reads from its output where it listens: HEP, operator, customer.
fn spawn(setup: &BackendSetup, dir: &Path, listen: [String; 3]) -> Result<Spawned> {
    let mut command = base(setup, dir, &["serve"])?;
    for (flag, address) in ["--hep-listen", "--http-listen", "--customer-listen"].iter().zip(&listen) {
        command.arg(flag).arg(address);
    }
    let mut process = Process::start("siplens", command, &dir.join("siplens.log"), true)?;
    let stdout = process.take_stdout().context("no standard output")?;
    let (lines, received) = mpsc::sync_channel(16);
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });

    let mut found = [const { String::new() }; 3];
    let mut others = BTreeMap::new();
    loop {
        let Ok(line) = received.recv_timeout(READY) else {
            bail!("the backend did not get ready\n{}", process.log_tail());
        };
        let word = |index: usize| line.split(' ').nth(index).unwrap_or_default().to_owned();
        match line.as_str() {
            "siplens is ready" => break,
            text if text.starts_with("hep listening on ") => found[0] = word(3),
            text if text.starts_with("http listening on ") => found[1] = word(3),
            text if text.starts_with("customer listening on ") => found[2] = word(3),
            text if text.contains(" listening on ") => drop(others.insert(word(0), word(3))),
            other => bail!("unexpected line on standard output: {other}"),
        }
    }
    ensure!(found.iter().all(|address| !address.is_empty()), "not every listener was announced: {found:?}");
    Ok((process, found, others))
}

fn authority(url: &str) -> String {
    url.trim_start_matches("http://").to_owned()
}
