//! Calls and answers over what Debian's sipp lacks: TLS and WebSocket.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::process::Process;
use crate::sipp::Placed;
use crate::wait::eventually;
use crate::{Call, kamailio, paths, port};

const READY: Duration = Duration::from_secs(10);

/// What carries a call to the proxy.
#[derive(Clone, Debug, Default)]
pub struct Carrier {
    transport: &'static str,
    certificate: Option<PathBuf>,
    preface: Option<String>,
    far_end_ends: bool,
    probe: bool,
}

impl Carrier {
    /// TCP.
    pub fn tcp() -> Self {
        Self { transport: "tcp", ..Self::default() }
    }

    /// TLS; `certificate` is the proxy's own.
    pub fn tls(certificate: PathBuf) -> Self {
        Self { transport: "tls", certificate: Some(certificate), ..Self::default() }
    }

    /// WebSocket.
    pub fn ws() -> Self {
        Self { transport: "ws", ..Self::default() }
    }

    /// WebSocket over TLS.
    pub fn wss(certificate: PathBuf) -> Self {
        Self { transport: "wss", certificate: Some(certificate), ..Self::default() }
    }

    /// The same with a line before anything else, as a load balancer sends it.
    pub fn with_preface(mut self, line: &str) -> Self {
        self.preface = Some(line.to_owned());
        self
    }

    /// The same; the BYE is to come from the called side.
    pub fn ended_by_callee(mut self) -> Self {
        self.far_end_ends = true;
        self
    }

    /// The same with an OPTIONS in place of the call; the connection is closed as soon as its reply has come.
    pub fn probing(mut self) -> Self {
        self.probe = true;
        self
    }
}

impl Call {
    /// Places one call as the scenario `call` does; fails unless it is answered and ended.
    pub fn place_over(&self, carrier: &Carrier, proxy: SocketAddr) -> Result<Placed> {
        let mut command = script("call.py");
        command.args(["--transport", carrier.transport, "--host", &proxy.ip().to_string()]);
        command.args(["--port", &proxy.port().to_string(), "--user", &self.user, "--tag", &self.tag()]);
        if let Some(certificate) = &carrier.certificate {
            command.arg("--cert").arg(certificate);
        }
        if let Some(line) = &carrier.preface {
            command.args(["--preface", line]);
        }
        if carrier.far_end_ends {
            command.arg("--far-end-ends");
        }
        if carrier.probe {
            command.arg("--probe");
        }
        let output = command.output().context("python3")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        let (call_id, address) = text.trim().split_once('\n').context("expected Call-ID and address")?;
        Ok(Placed {
            call_id: call_id.to_owned(),
            successful: 1,
            address: address.parse()?,
            errors: String::new(),
        })
    }

    /// Places one call over TLS; `certificate` is the proxy's own. Returns its Call-ID.
    pub fn place_tls(&self, proxy: SocketAddr, certificate: &Path) -> Result<String> {
        Ok(self.place_over(&Carrier::tls(certificate.to_owned()), proxy)?.call_id)
    }
}

/// A called side that answers over TLS.
pub struct TlsUas {
    address: SocketAddr,
    process: Process,
    _dir: TempDir,
}

impl TlsUas {
    /// Starts it on IPv4 loopback.
    pub fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("siplens-uas-").tempdir()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port::free()?));
        let (cert, key) = kamailio::certificate(dir.path())?;
        let mut command = script("answer.py");
        command.args(["--port", &address.port().to_string(), "--cert"]).arg(cert).arg("--key").arg(key);
        let mut process = Process::start("answer.py", command, &dir.path().join("answer.log"), false)?;
        process.wait_ready(READY, || port::is_taken(address.port()))?;
        Ok(Self { address, process, _dir: dir })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as the SIP URI a proxy relays to.
    pub fn uri(&self) -> String {
        format!("sip:{};transport=tls", self.address)
    }

    /// The port that the only connection so far came from.
    pub fn peer_port(&self) -> Result<u16> {
        eventually("a connection at the called side", READY, || {
            let log = self.process.log();
            let ports: Vec<_> = log.lines().filter_map(|line| line.parse().ok()).collect();
            ensure!(ports.len() == 1, "connections from {ports:?}");
            Ok(ports[0])
        })
    }
}

fn script(name: &str) -> Command {
    let mut command = Command::new("python3");
    // Nothing compiled is left beside the scripts.
    command.arg("-B").arg(paths::scenario(name));
    command
}
