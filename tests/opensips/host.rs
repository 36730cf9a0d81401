//! `host/host.c`, compiled for a version, with a module loaded: one line in, one line out.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use harness::{eventually, paths};
use serde_json::Value;
use tempfile::TempDir;

/// A known version: what its module is built from, and how the host is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// As in `ffi/opensips-sys/versions`.
    pub release: &'static str,
    /// For `-DVERSION`.
    number: &'static str,
    /// A definition for a host that is laid out otherwise than it says.
    wrong: Option<&'static str>,
}

/// One of each layout.
pub const VERSIONS: [Version; 4] = [
    Version { release: "3.4.18", number: "34", wrong: None },
    Version { release: "3.5.9", number: "35", wrong: None },
    Version { release: "3.6.8", number: "36", wrong: None },
    Version { release: "4.0.1", number: "40", wrong: None },
];

impl Version {
    /// The same, but for `wrong`: `WRONG_PROTOS` or `WRONG_MESSAGE`.
    pub fn laid_out_otherwise(self, wrong: &'static str) -> Self {
        Self { wrong: Some(wrong), ..self }
    }

    /// The module for it.
    pub fn module(self) -> PathBuf {
        paths::repository().join(format!("build/opensips/{}/siplens.so", self.release))
    }

    fn text(self) -> PathBuf {
        paths::repository().join(format!("ffi/opensips-sys/versions/{}.txt", self.release))
    }

    /// The host's program, compiled once in this test run.
    fn program(self) -> Result<PathBuf> {
        static COMPILED: Mutex<BTreeMap<Version, PathBuf>> = Mutex::new(BTreeMap::new());
        let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = compiled.get(&self) {
            return Ok(program.clone());
        }
        let folder = paths::repository().join("build/opensips/host");
        std::fs::create_dir_all(&folder)?;
        let suffix = self.wrong.unwrap_or("RIGHT");
        let program = folder.join(format!("host-{}-{suffix}", self.number));
        // Another test run may be using the one that is there.
        let made = folder.join(format!("host-{}-{suffix}-{}", self.number, std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("opensips/host/host.c");
        let mut command = Command::new("cc");
        command.args(["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Wno-format-truncation", "-Werror"]);
        // The module finds the host's symbols among those that the program exports.
        command.args(["-rdynamic", &format!("-DVERSION={}", self.number)]);
        command.args(self.wrong.map(|name| format!("-D{name}")));
        let output = command.arg(&source).args(["-ldl", "-o"]).arg(&made).output().context("cc")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::rename(&made, &program)?;
        compiled.insert(self, program.clone());
        Ok(program)
    }
}

/// A running host.
pub struct Host {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    dir: TempDir,
}

impl Host {
    /// One in which no module is loaded yet.
    pub fn empty(version: Version) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("siplens-host-").tempdir()?;
        let log = std::fs::File::create(dir.path().join("log"))?;
        let mut child = Command::new(version.program()?)
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let to = child.stdin.take().context("no input")?;
        let from = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Self { child, to, from, dir })
    }

    /// One with the module of its version loaded.
    pub fn loaded(version: Version) -> Result<Self> {
        let mut host = Self::empty(version)?;
        host.good_load(version)?;
        Ok(host)
    }

    /// One that runs: these lines (`param …`, `script …`) were given, all were good, and there are two workers.
    pub fn running(version: Version, lines: &[String]) -> Result<Self> {
        Self::loaded(version)?.started(lines)
    }

    /// The same in a host that has another module, too.
    pub fn beside(version: Version, other: &str, lines: &[String]) -> Result<Self> {
        let mut host = Self::empty(version)?;
        host.good(&format!("beside {other}"))?;
        host.good_load(version)?;
        host.started(lines)
    }

    fn good_load(&mut self, version: Version) -> Result<()> {
        let answer = self.load(&version.module(), version)?;
        ensure!(answer == "ok", "{}: {answer}", version.release);
        Ok(())
    }

    fn started(mut self, lines: &[String]) -> Result<Self> {
        for line in lines.iter().map(String::as_str).chain(["init", "start 2"]) {
            self.good(line)?;
        }
        Ok(self)
    }

    /// Loads a module as the core of `version` does; answers what it thinks of it.
    pub fn load(&mut self, module: &Path, version: Version) -> Result<String> {
        self.ask(&format!("load {} {}", module.display(), version.text().display()))
    }

    /// The answer to one line.
    pub fn ask(&mut self, line: &str) -> Result<String> {
        writeln!(self.to, "{line}")?;
        let mut answer = String::new();
        self.from.read_line(&mut answer)?;
        ensure!(!answer.is_empty(), "{line}: the host has ended\n{}", self.log());
        Ok(answer.trim_end().to_owned())
    }

    /// One line whose answer must be `ok`.
    pub fn good(&mut self, line: &str) -> Result<()> {
        let answer = self.ask(line)?;
        ensure!(answer == "ok", "{line}: {answer}\n{}", self.log());
        Ok(())
    }

    /// The number that a line is answered with.
    pub fn number(&mut self, line: &str) -> Result<i64> {
        let answer = self.ask(line)?;
        answer.parse().with_context(|| format!("{line}: {answer}\n{}", self.log()))
    }

    /// The answer of an MI command.
    pub fn mi(&mut self, command: &str) -> Result<Value> {
        let answer = self.ask(&format!("mi {command}"))?;
        serde_json::from_str(&answer).with_context(|| format!("{command}: {answer}"))
    }

    /// The counters, which must add up.
    pub fn stats(&mut self) -> Result<BTreeMap<String, u64>> {
        let answer = self.mi("siplens:stats")?;
        let counters = answer.as_object().context("stats are no object")?;
        let stats: BTreeMap<_, _> =
            counters.iter().filter_map(|(name, value)| Some((name.clone(), value.as_u64()?))).collect();
        let sum = stats["filtered"] + stats["dropped"] + stats["sent"] + stats["in_queue"];
        if stats["offered"] != sum {
            bail!("offered is {}, and the sum {sum}: {stats:?}", stats["offered"]);
        }
        let causes: u64 =
            stats.iter().filter(|(name, _)| name.starts_with("dropped_")).map(|(_, count)| count).sum();
        ensure!(stats["dropped"] == causes, "dropped is {}, its causes {causes}", stats["dropped"]);
        Ok(stats)
    }

    /// Waits until nothing is on its way; answers the counters.
    pub fn settled(&mut self) -> Result<BTreeMap<String, u64>> {
        eventually("an empty queue", Duration::from_secs(60), || {
            let stats = self.stats()?;
            ensure!(stats["in_queue"] == 0, "{} messages are on their way", stats["in_queue"]);
            Ok(stats)
        })
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Ends it as the core does, and waits until it has.
    pub fn stop(mut self) -> Result<String> {
        let answer = self.ask("stop")?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the host ended with {status}\n{}", self.log());
        Ok(answer)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Its processes end when their parent's pipe does; whoever is left is asked by `stop`.
        let _ = writeln!(self.to, "stop");
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}
