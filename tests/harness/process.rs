//! A child process that does not outlive its value, with its output in a file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{patient, wait_until};

const GRACE: Duration = Duration::from_secs(10);

/// A running child. Dropping it asks it to end, then kills it together with its own children.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with stderr (and stdout, unless the caller piped it) appended to `log`.
    pub fn start(name: &str, mut command: Command, log: &Path, pipe_stdout: bool) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stderr(file.try_clone()?);
        if pipe_stdout {
            command.stdout(Stdio::piped())
        } else {
            command.stdout(file)
        };
        let child = command.spawn().with_context(|| format!("cannot start {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// The child's standard output, if it was piped and not taken before.
    pub fn take_stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, if it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until `ready` holds; fails at once, with the end of the log, if the process has ended before.
    pub fn wait_ready(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let (started, limit) = (Instant::now(), patient(limit));
        while !ready() {
            if let Some(status) = self.exited() {
                bail!("{} ended before it was ready ({status})\n{}", self.name, self.log_tail());
            }
            if started.elapsed() > limit {
                bail!("{} was not ready after {limit:?}\n{}", self.name, self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Waits for its end.
    pub fn wait_exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        let mut status = None;
        wait_until(&format!("end of {}", self.name), limit, || {
            status = self.exited();
            status.is_some()
        })
        .with_context(|| self.log_tail())?;
        status.context("ended without a status")
    }

    /// SIGTERM, as `systemctl stop` sends it; returns how it ended.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        if self.exited().is_none() {
            kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        }
        self.wait_exit(GRACE)
    }

    /// SIGQUIT: PostgreSQL's children and all end at once, and leave what a crash leaves.
    pub fn quit(&mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::QUIT)?;
        self.wait_exit(GRACE).map(drop)
    }

    /// SIGKILL, and nothing else: no chance to write anything.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// The last lines of its output, for error texts.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(40);
        format!("--- {} ({})\n{}", self.name, self.log.display(), lines[from..].join("\n"))
    }

    /// Everything it has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// SIGHUP.
    pub fn hang_up(&self) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::HUP)?)
    }

    /// Stops it and its children where they are, as a machine that hangs.
    pub fn freeze(&self) -> Result<()> {
        self.signal_all(Signal::STOP)
    }

    /// Lets them go on.
    pub fn thaw(&self) -> Result<()> {
        self.signal_all(Signal::CONT)
    }

    fn signal_all(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal)?;
        for pid in self.children() {
            kill_process(pid, signal)?;
        }
        Ok(())
    }

    /// Its children and theirs: a proxy's workers, which would stay behind if only the parent were killed.
    pub(crate) fn children(&self) -> Vec<Pid> {
        let mut found = vec![self.child.id()];
        let mut seen = 0;
        while let Some(id) = found.get(seen) {
            let text = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
            found.extend(text.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
            seen += 1;
        }
        found.into_iter().skip(1).filter_map(|id| Pid::from_raw(id.try_into().ok()?)).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exited().is_none() {
            let children = self.children();
            if self.terminate().is_err() {
                let _ = self.kill();
                for pid in children {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
    }
}
