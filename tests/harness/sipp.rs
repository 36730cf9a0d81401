//! sipp as caller and called side.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::process::Process;
use crate::{paths, port};

const READY: Duration = Duration::from_secs(10);

/// What sipp speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One SCTP association for all calls; needs a kernel that has SCTP.
    Sctp,
    /// One TCP connection for all calls.
    Tcp,
    /// One UDP socket for all calls.
    Udp,
}

impl Transport {
    fn flag(self) -> &'static str {
        match self {
            Self::Sctp => "s1",
            Self::Tcp => "t1",
            Self::Udp => "u1",
        }
    }
}

/// The called side: answers every call, except those to the user `busy`.
pub struct Uas {
    address: SocketAddr,
    transport: Transport,
    _process: Process,
    _dir: TempDir,
}

impl Uas {
    /// Starts it on IPv4 loopback.
    pub fn start(transport: Transport) -> Result<Self> {
        Self::start_on(IpAddr::V4(Ipv4Addr::LOCALHOST), transport)
    }

    /// Starts one that behaves as `tests/scenarios/<scenario>/uas.xml` says.
    pub fn start_as(scenario: &str, transport: Transport) -> Result<Self> {
        Self::run(&format!("{scenario}/uas.xml"), IpAddr::V4(Ipv4Addr::LOCALHOST), transport)
    }

    /// Starts it on another address of the machine.
    pub fn start_on(ip: IpAddr, transport: Transport) -> Result<Self> {
        Self::run("uas.xml", ip, transport)
    }

    fn run(scenario: &str, ip: IpAddr, transport: Transport) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("siplens-uas-").tempdir()?;
        let address = SocketAddr::new(ip, port::free()?);
        let mut command = sipp(dir.path(), &paths::scenario(scenario), address, transport)?;
        command.args(["-d", "20"]);
        let mut process = Process::start("sipp uas", command, &dir.path().join("sipp.log"), false)?;
        process.wait_ready(READY, || port::is_taken(address.port()))?;
        Ok(Self { address, transport, _process: process, _dir: dir })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as the SIP URI a proxy relays to.
    pub fn uri(&self) -> String {
        match self.transport {
            Transport::Udp => format!("sip:{}", self.address),
            Transport::Tcp => format!("sip:{};transport=tcp", self.address),
            Transport::Sctp => format!("sip:{};transport=sctp", self.address),
        }
    }
}

/// Calls to place: one scenario, once or many times.
#[derive(Clone, Debug)]
pub struct Call {
    scenario: String,
    pub(crate) user: String,
    session: Option<String>,
    count: u32,
    per_second: u32,
    talk_ms: u32,
}

/// What became of placed calls.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Call-ID of the first call.
    pub call_id: String,
    /// Calls that went as the scenario says.
    pub successful: u64,
    /// The caller's address.
    pub address: SocketAddr,
    /// What sipp had to say about the calls that went otherwise.
    pub errors: String,
}

impl Call {
    /// One call as `tests/scenarios/<scenario>/uac.xml` says, to bob.
    pub fn new(scenario: &str) -> Self {
        Self {
            scenario: scenario.to_owned(),
            user: "bob".to_owned(),
            session: None,
            count: 1,
            per_second: 50,
            talk_ms: 60,
        }
    }

    /// The same to somebody else.
    pub fn to(mut self, user: &str) -> Self {
        self.user = user.to_owned();
        self
    }

    /// The same with this value in `X-Session-Id`.
    pub fn session(mut self, id: &str) -> Self {
        self.session = Some(id.to_owned());
        self
    }

    /// The same many times.
    pub fn times(mut self, count: u32, per_second: u32) -> Self {
        self.count = count;
        self.per_second = per_second;
        self
    }

    /// The same with so many milliseconds between answer and end.
    pub fn talking(mut self, milliseconds: u32) -> Self {
        self.talk_ms = milliseconds;
        self
    }

    /// The header line that says which session a call belongs to; a scenario always has such a line.
    pub(crate) fn tag(&self) -> String {
        match &self.session {
            Some(id) => format!("X-Session-Id: {id}"),
            None => "X-Test: siplens".to_owned(),
        }
    }

    /// Places the calls and waits for their end; fails unless all went as the scenario says.
    pub fn place(&self, proxy: SocketAddr, transport: Transport) -> Result<Placed> {
        let placed = self.attempt(proxy, transport)?;
        ensure!(
            placed.successful == u64::from(self.count),
            "{} of {} calls went as {} says\n{}",
            placed.successful,
            self.count,
            self.scenario,
            placed.errors
        );
        Ok(placed)
    }

    /// Places the calls and says how many went as the scenario says.
    pub fn attempt(&self, proxy: SocketAddr, transport: Transport) -> Result<Placed> {
        static SERIAL: AtomicUsize = AtomicUsize::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let dir = tempfile::Builder::new().prefix("siplens-uac-").tempdir()?;
        let address = SocketAddr::new(proxy.ip(), port::free()?);
        let suffix = format!("{}-{}-{serial}@siplens.test", self.scenario, std::process::id());
        let mut command =
            sipp(dir.path(), &paths::scenario(&format!("{}/uac.xml", self.scenario)), address, transport)?;
        let count = self.count.to_string();
        command.arg(proxy.to_string()).args(["-s", &self.user, "-key", "tag", &self.tag()]);
        command.args(["-m", &count, "-l", "200", "-r", &self.per_second.to_string()]);
        command.args(["-d", &self.talk_ms.to_string(), "-cid_str", &format!("%u-{suffix}")]);
        command.args(["-recv_timeout", "20000", "-timeout", "240"]);
        let mut process = Process::start("sipp uac", command, &dir.path().join("sipp.log"), false)?;
        let status = process.wait_exit(Duration::from_secs(300))?;
        let log = process.log();
        let successful = counter(&log, "Successful call")
            .with_context(|| format!("sipp ended with {status}\n{}", process.log_tail()))?;
        if !status.success() {
            eprintln!("sipp ended with {status}\n{}", process.log_tail());
        }
        let errors = std::fs::read_to_string(dir.path().join("errors.log")).unwrap_or_default();
        Ok(Placed { call_id: format!("1-{suffix}"), successful, address, errors })
    }
}

fn sipp(dir: &Path, scenario: &Path, address: SocketAddr, transport: Transport) -> Result<Command> {
    let mut command = Command::new("sipp");
    command.current_dir(dir).env("TERM", "dumb").arg("-sf").arg(scenario);
    command.args(["-i", &address.ip().to_string(), "-p", &address.port().to_string()]);
    command.args(["-t", transport.flag(), "-nostdin", "-trace_err", "-error_file", "errors.log"]);
    command.args(["-mp", &port::free()?.to_string(), "-cp", &port::free()?.to_string()]);
    Ok(command)
}

/// The cumulative value of a counter on the last statistics screen.
fn counter(log: &str, name: &str) -> Option<u64> {
    let line = log.lines().rfind(|line| line.trim_start().starts_with(name))?;
    line.split('|').nth(2)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::counter;

    #[test]
    fn counters_are_read_from_the_last_screen() {
        let log = "  Successful call        |        0                  |        7                 \n\
                   ------\n\
                   \x20 Successful call        |        2                  |        9                 \n\
                   \x20 Failed call            |        0                  |        1                 \n";
        assert_eq!(counter(log, "Successful call"), Some(9));
        assert_eq!(counter(log, "Failed call"), Some(1));
        assert_eq!(counter(log, "Dead call"), None);
    }
}
