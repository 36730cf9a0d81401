//! A real OpenSIPS with `siplens.so`, on free loopback ports: the one that `OPENSIPS_BIN` names.
//!
//! Its modules are looked for in `OPENSIPS_MODULES`, else in `modules` beside the binary, else where distributions have
//! them; `siplens.so` in `build/opensips/VERSION`. OpenSIPS knows no definitions, so a configuration's usual values are
//! replaced by those of the run, in its text. A line that begins with `#NAME#` counts if the setup defines `NAME`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kamailio::certificate;
use crate::process::Process;
use crate::proxy::{Proxy, Setup};
use crate::{paths, port};

const READY: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(5);

/// An installation of OpenSIPS, and our module for it.
#[derive(Clone, Debug)]
pub struct Installed {
    binary: PathBuf,
    modules: PathBuf,
    module: PathBuf,
    version: String,
}

impl Installed {
    /// The one that `OPENSIPS_BIN` names; `None` if it names none.
    pub fn found() -> Result<Option<Self>> {
        let Some(binary) = std::env::var_os("OPENSIPS_BIN").filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let binary = PathBuf::from(binary);
        let output = Command::new(&binary).arg("-V").output().context("OPENSIPS_BIN -V")?;
        let text = String::from_utf8(output.stdout)?;
        let version = text
            .lines()
            .find_map(|line| line.strip_prefix("version: opensips ")?.split(' ').next())
            .context("OPENSIPS_BIN -V names no version")?
            .to_owned();
        let beside = binary.parent().unwrap_or(Path::new("/")).join("modules");
        let usual = PathBuf::from("/usr/lib/x86_64-linux-gnu/opensips/modules");
        let modules = std::env::var_os("OPENSIPS_MODULES")
            .map(PathBuf::from)
            .unwrap_or_else(|| if beside.is_dir() { beside } else { usual });
        let module = paths::repository().join(format!("build/opensips/{version}/siplens.so"));
        ensure!(module.is_file(), "no {}: run scripts/build-opensips-module", module.display());
        Ok(Some(Self { binary, modules, module, version }))
    }

    /// Its release, such as `3.6.8`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether it has a module.
    pub fn has(&self, module: &str) -> bool {
        self.modules.join(format!("{module}.so")).is_file()
            || self.modules.join(format!("{module}/{module}.so")).is_file()
    }

    /// Whether OpenSIPS itself finds this configuration good (`opensips -C`); its log if not.
    pub fn check(&self, setup: &Setup) -> Result<()> {
        let prepared = Prepared::new(self, setup)?;
        let output = self.command(&prepared).arg("-C").output()?;
        ensure!(
            output.status.success(),
            "opensips -C {}: {}\n{}",
            setup.config.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Starts it and returns once its MI answers.
    pub fn start(&self, setup: &Setup) -> Result<OpenSips> {
        let prepared = Prepared::new(self, setup)?;
        let mut command = self.command(&prepared);
        command.arg("-F");
        let log = prepared.dir.path().join("opensips.log");
        let mut process = Process::start("opensips", command, &log, false)?;
        let mi = prepared.mi;
        // The sockets for TCP are opened after the processes that answer MI have started.
        let sip = prepared.sip;
        process.wait_ready(READY, || {
            ask(mi, "siplens:status", None).is_ok() && TcpStream::connect(sip).is_ok()
        })?;
        Ok(OpenSips { process, prepared, version: self.version.clone() })
    }

    fn command(&self, prepared: &Prepared) -> Command {
        let mut command = Command::new(&self.binary);
        command.current_dir(prepared.dir.path()).args(["-m", "64", "-M", "8", "-w"]).arg(prepared.dir.path());
        command.arg("-f").arg(prepared.dir.path().join("opensips.cfg"));
        command
    }
}

/// A configuration with the values of one run.
struct Prepared {
    sip: SocketAddr,
    tls: SocketAddr,
    ws: SocketAddr,
    wss: SocketAddr,
    mi: SocketAddr,
    dir: TempDir,
}

impl Prepared {
    fn new(installed: &Installed, setup: &Setup) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("siplens-opensips-").tempdir()?;
        let (cert, key) = certificate(dir.path())?;
        let sip = SocketAddr::new(setup.ip, port::free()?);
        let tls = SocketAddr::new(setup.ip, port::free()?);
        let ws = SocketAddr::new(setup.ip, port::free()?);
        let wss = SocketAddr::new(setup.ip, port::free()?);
        let mi = SocketAddr::from((Ipv4Addr::LOCALHOST, port::free()?));
        let mut text =
            std::fs::read_to_string(&setup.config).with_context(|| setup.config.display().to_string())?;
        let hep = setup.collector.trim_start_matches("sip:").split(';').next().unwrap_or_default().to_owned();
        let mut values = vec![
            (
                "/usr/lib/x86_64-linux-gnu/opensips/modules".to_owned(),
                installed.modules.display().to_string(),
            ),
            ("/usr/local/lib/siplens/siplens.so".to_owned(), installed.module.display().to_string()),
            ("/etc/opensips/tls/edge.pem".to_owned(), cert.display().to_string()),
            ("/etc/opensips/tls/edge.key".to_owned(), key.display().to_string()),
            ("sip:127.0.0.1:9060".to_owned(), setup.collector.clone()),
            ("127.0.0.1:9060".to_owned(), hep),
            ("sip:127.0.0.1:5080".to_owned(), setup.relay_to.clone()),
            ("our-session-id".to_owned(), setup.session_id.clone()),
            ("127.0.0.1:8088".to_owned(), mi.to_string()),
        ];
        for ip in ["127.0.0.1", "127.0.0.2", "[::1]"] {
            values.push((format!("{ip}:5060"), format!("{ip}:{}", sip.port())));
            values.push((format!("{ip}:5061"), format!("{ip}:{}", tls.port())));
            values.push((format!("{ip}:5062"), format!("{ip}:{}", ws.port())));
            values.push((format!("{ip}:5063"), format!("{ip}:{}", wss.port())));
        }
        if installed.version.starts_with("4.0.") {
            // With its default of a thread for each processor, it loses a call in some hundred, with or without us.
            values.push(("#ONE_TCP_THREAD#".to_owned(), String::new()));
        }
        for (name, value) in &setup.defines {
            values.push((format!("#{name}#"), String::new()));
            values.push((format!("@{name}@"), value.clone()));
        }
        for (usual, value) in values {
            text = text.replace(&usual, &value);
        }
        std::fs::write(dir.path().join("opensips.cfg"), text)?;
        Ok(Self { sip, tls, ws, wss, mi, dir })
    }
}

/// A running OpenSIPS.
pub struct OpenSips {
    process: Process,
    prepared: Prepared,
    version: String,
}

impl OpenSips {
    /// The answer of an MI command.
    pub fn mi(&self, command: &str) -> Result<Value> {
        ask(self.prepared.mi, command, None)
    }

    /// The answer of an MI command with parameters.
    pub fn mi_with(&self, command: &str, parameters: Value) -> Result<Value> {
        ask(self.prepared.mi, command, Some(parameters))
    }

    /// The certificate it shows on its TLS port, which a client has to be told to trust.
    pub fn certificate(&self) -> PathBuf {
        self.prepared.dir.path().join("tls.crt")
    }

    /// Where it takes SIP over WebSocket, and over WebSocket with TLS, if the configuration says so.
    pub fn websockets(&self) -> [SocketAddr; 2] {
        [self.prepared.ws, self.prepared.wss]
    }

    /// Stops it the way an operator does and tells whether it ended by itself.
    pub fn stop(&mut self) -> Result<()> {
        let status = self.process.terminate()?;
        ensure!(status.success(), "opensips ended with {status}\n{}", self.process.log_tail());
        Ok(())
    }
}

impl Proxy for OpenSips {
    fn name(&self) -> String {
        format!("opensips {}", self.version)
    }

    fn sip(&self) -> SocketAddr {
        self.prepared.sip
    }

    fn tls(&self) -> SocketAddr {
        self.prepared.tls
    }

    fn stats(&mut self) -> Result<BTreeMap<String, u64>> {
        let answer = self.mi("siplens:stats")?;
        let counters = answer.as_object().context("stats are no object")?;
        Ok(counters.iter().filter_map(|(name, value)| Some((name.clone(), value.as_u64()?))).collect())
    }

    fn log(&self) -> String {
        self.process.log()
    }

    fn is_running(&mut self) -> bool {
        self.process.exited().is_none()
    }
}

/// One JSON-RPC datagram there and back.
fn ask(mi: SocketAddr, command: &str, parameters: Option<Value>) -> Result<Value> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(mi)?;
    socket.set_read_timeout(Some(ANSWER))?;
    let mut request = json!({"jsonrpc": "2.0", "id": 1, "method": command});
    if let Some(parameters) = parameters {
        request["params"] = parameters;
    }
    socket.send(request.to_string().as_bytes())?;
    let mut answer = vec![0; 65_536];
    let length = socket.recv(&mut answer)?;
    let answer: Value = serde_json::from_slice(&answer[..length])?;
    ensure!(answer["error"].is_null(), "{command}: {}", answer["error"]);
    Ok(answer["result"].clone())
}
