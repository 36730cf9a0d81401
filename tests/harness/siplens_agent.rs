//! The daemon `siplens-agent`.

use std::path::Path;
use std::process::{Command, ExitStatus};

use anyhow::Result;
use tempfile::TempDir;

use crate::paths;
use crate::process::Process;

/// A running `siplens-agent`. It is told to end when dropped.
pub struct SiplensAgent {
    process: Process,
    _dir: TempDir,
}

impl SiplensAgent {
    /// Starts it for the proxy that listens at `socket`, or will; returns at once.
    pub fn start(socket: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("siplens-agent-").tempdir()?;
        let mut command = Command::new(paths::agent_binary()?);
        command.current_dir(dir.path()).arg("--socket").arg(socket);
        let process = Process::start("siplens-agent", command, &dir.path().join("agent.log"), false)?;
        Ok(Self { process, _dir: dir })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// SIGTERM; returns how it ended.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.process.terminate()
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }
}
