//! A real Kamailio with `siplens.so`, on free loopback ports.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::process::Process;
use crate::proxy::{Proxy, Setup};
use crate::wait::eventually;
use crate::{paths, port};

const READY: Duration = Duration::from_secs(30);

/// A running Kamailio.
pub struct Kamailio {
    process: Process,
    sip: SocketAddr,
    tls: SocketAddr,
    control: PathBuf,
    _dir: TempDir,
}

impl Kamailio {
    /// Starts it and returns once it answers a control command.
    pub fn start(setup: &Setup) -> Result<Self> {
        let mut kamailio = Self::spawn(setup)?;
        let control = kamailio.control.clone();
        kamailio.process.wait_ready(READY, || rpc(&control, &["core.uptime"]).is_ok())?;
        Ok(kamailio)
    }

    fn spawn(setup: &Setup) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("siplens-kamailio-").tempdir()?;
        let (cert, key) = certificate(dir.path())?;
        let sip = SocketAddr::new(setup.ip, port::free()?);
        let tls = SocketAddr::new(setup.ip, port::free()?);
        let control = dir.path().join("control");

        let module_dir =
            if setup.forced_panics.is_some() { paths::panicking_module_dir() } else { paths::module_dir() };
        let mut command = under();
        let shared = setup.shared_mib.to_string();
        command.current_dir(dir.path()).args(["-DD", "-E", "-m", &shared, "-M", "8", "-w"]).arg(dir.path());
        command.arg("-Y").arg(dir.path()).args(["-L", &module_path(module_dir)?, "-f"]).arg(&setup.config);
        if let Some(file) = &setup.forced_panics {
            command.env("SIPLENS_FORCED_PANICS", file);
        }
        if is_case(&setup.config) {
            for socket in [format!("udp:{sip}"), format!("tcp:{sip}"), format!("tls:{tls}")] {
                command.args(["-l", &socket]);
            }
        }
        define(&mut command, "SIP_PORT", &sip.port().to_string());
        define(&mut command, "TLS_PORT", &tls.port().to_string());
        define_text(&mut command, "COLLECTOR", &setup.collector);
        define_text(&mut command, "SESSION_ID", &setup.session_id);
        define_text(&mut command, "RELAY_TO", &setup.relay_to);
        define_text(&mut command, "TLS_CERT", &cert.display().to_string());
        define_text(&mut command, "TLS_KEY", &key.display().to_string());
        define_text(&mut command, "CTL_SOCKET", &format!("unix:{}", control.display()));
        for (name, value) in &setup.defines {
            if name == "LISTEN" {
                command.args(["-l", &value.replace("SIP_PORT", &sip.port().to_string())]);
            } else {
                define_text(&mut command, name, value);
            }
        }
        for (name, value) in &setup.bare {
            define(&mut command, name, value);
        }

        let process = Process::start("kamailio", command, &dir.path().join("kamailio.log"), false)?;
        Ok(Self { process, sip, tls, control, _dir: dir })
    }

    /// Sends a control command (`siplens.disable`, …) and returns what it printed.
    pub fn rpc(&self, command: &[&str]) -> Result<String> {
        rpc(&self.control, command)
    }

    /// The certificate it shows on its TLS port, which a client has to be told to trust.
    pub fn certificate(&self) -> PathBuf {
        self._dir.path().join("tls.crt")
    }

    /// The process ids of all of its processes, the first one's first.
    pub fn processes(&self) -> Vec<u32> {
        let mut ids = vec![self.process.id()];
        ids.extend(self.process.children().into_iter().filter_map(|id| u32::try_from(id.as_raw_pid()).ok()));
        ids
    }

    /// Stops it the way an operator does and tells whether it ended by itself.
    pub fn stop(&mut self) -> Result<()> {
        let status = self.process.terminate()?;
        ensure!(status.success(), "kamailio ended with {status}\n{}", self.process.log_tail());
        Ok(())
    }
}

impl Proxy for Kamailio {
    fn name(&self) -> String {
        let output = Command::new(paths::kamailio("kamailio")).arg("-v").output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().next().unwrap_or("kamailio").to_owned()
    }

    fn sip(&self) -> SocketAddr {
        self.sip
    }

    fn tls(&self) -> SocketAddr {
        self.tls
    }

    fn stats(&mut self) -> Result<BTreeMap<String, u64>> {
        let text = self.rpc(&["siplens.stats"])?;
        let pairs = text.lines().filter_map(|line| line.trim().split_once(':'));
        Ok(pairs
            .filter_map(|(name, value)| Some((name.trim().to_owned(), value.trim().parse().ok()?)))
            .collect())
    }

    fn log(&self) -> String {
        self.process.log()
    }

    fn is_running(&mut self) -> bool {
        self.process.exited().is_none()
    }
}

/// Whether Kamailio itself finds this configuration good (`kamailio -c`), with the defaults it ships with.
pub fn check(config: &Path) -> Result<()> {
    let output = Command::new(paths::kamailio("kamailio"))
        .args(["-c", "-L", &module_path(paths::module_dir())?, "-f"])
        .arg(config)
        .output()?;
    ensure!(
        output.status.success(),
        "kamailio -c {}: {}\n{}",
        config.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// What Kamailio logs when it refuses to start with this configuration; fails if it starts.
pub fn refusal(setup: &Setup) -> Result<String> {
    let mut kamailio = Kamailio::spawn(setup)?;
    let status = kamailio.process.wait_exit(READY)?;
    ensure!(!status.success(), "kamailio ended well\n{}", kamailio.log());
    Ok(kamailio.log())
}

fn module_path(module_dir: Result<PathBuf>) -> Result<String> {
    let output = Command::new(paths::repository().join("scripts/kamailio-modules"))
        .current_dir(paths::repository())
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(format!("{}:{}", String::from_utf8(output.stdout)?.trim(), module_dir?.display()))
}

/// The command that runs Kamailio: behind what `SIPLENS_KAMAILIO_UNDER` says, such as `valgrind --log-file=…`.
fn under() -> Command {
    let prefix = std::env::var("SIPLENS_KAMAILIO_UNDER").unwrap_or_default();
    let program = paths::kamailio("kamailio");
    let mut words = prefix.split_whitespace().map(OsStr::new).chain([program.as_os_str()]);
    let mut command = Command::new(words.next().unwrap_or(program.as_os_str()));
    command.args(words);
    command
}

/// Examples listen where their own text says; a case's configuration leaves that to the harness.
fn is_case(config: &Path) -> bool {
    config.starts_with(paths::scenario(""))
}

fn define(command: &mut Command, name: &str, value: &str) {
    command.arg("-A").arg(format!("{name}={value}"));
}

fn define_text(command: &mut Command, name: &str, value: &str) {
    define(command, name, &format!("\"{value}\""));
}

fn rpc(control: &Path, command: &[&str]) -> Result<String> {
    let socket = format!("unix:{}", control.display());
    let output = Command::new(paths::kamailio("kamcmd"))
        .args(["-s", &socket])
        .args(command)
        .output()
        .context("kamcmd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success() && !text.starts_with("error:"),
        "kamcmd {command:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text)
}

/// A self-signed certificate and its key for a TLS socket, as files in `dir`.
pub(crate) fn certificate(dir: &Path) -> Result<(PathBuf, PathBuf)> {
    let (cert, key) = (dir.join("tls.crt"), dir.join("tls.key"));
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=siplens-test", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .context("openssl")?;
    ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    Ok((cert, key))
}

/// Waits until the module's counter `name` is at least `value`.
pub fn wait_for_stat(proxy: &mut impl Proxy, name: &str, value: u64, limit: Duration) -> Result<u64> {
    eventually(&format!("counter {name} >= {value}"), limit, || {
        let found = proxy.stats()?.get(name).copied().with_context(|| format!("no counter {name}"))?;
        ensure!(found >= value, "{name} is {found}");
        Ok(found)
    })
}
