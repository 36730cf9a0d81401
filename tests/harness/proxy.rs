//! What a case may ask of a SIP proxy, whichever it is.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Result;

use crate::paths;

/// How a proxy is to be set up; [`Kamailio`](crate::Kamailio) turns it into its own configuration.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Configuration file; what differs per run reaches it as definitions.
    pub config: PathBuf,
    /// Where the proxy listens.
    pub ip: IpAddr,
    /// Collector as the script names it, such as `sip:127.0.0.1:9060`.
    pub collector: String,
    /// Correlation id given to every call that has none of its own.
    pub session_id: String,
    /// Where the proxy sends calls, as a SIP URI.
    pub relay_to: String,
    /// MiB of memory that the proxy's processes share; many calls at once need more.
    pub shared_mib: u32,
    /// More definitions, by name; texts.
    pub defines: BTreeMap<String, String>,
    /// Definitions that are no texts, by name.
    pub bare: BTreeMap<String, String>,
    /// With the module that panics on purpose: it does while this file exists.
    pub forced_panics: Option<PathBuf>,
}

impl Setup {
    /// The shipped example `name` (`minimal`, `full`).
    pub fn example(name: &str, collector: SocketAddr, relay_to: String) -> Self {
        let folder = paths::repository().join("cfg-examples/kamailio");
        let script = folder.join("kemi.js").display().to_string();
        Self::new(folder.join(format!("{name}.cfg")), collector, relay_to).define("KEMI_SCRIPT", script)
    }

    /// A configuration written for one case: `tests/scenarios/<case>/kamailio.cfg`.
    pub fn case(name: &str, collector: SocketAddr, relay_to: String) -> Self {
        Self::new(paths::scenario(name).join("kamailio.cfg"), collector, relay_to)
    }

    /// The shipped example `name` for OpenSIPS (`minimal`, `full`).
    pub fn opensips_example(name: &str, collector: SocketAddr, relay_to: String) -> Self {
        let config = paths::repository().join(format!("cfg-examples/opensips/{name}.cfg"));
        Self::new(config, collector, relay_to)
    }

    /// A configuration for OpenSIPS written for one case: `tests/scenarios/<case>/opensips.cfg`.
    pub fn opensips_case(name: &str, collector: SocketAddr, relay_to: String) -> Self {
        Self::new(paths::scenario(name).join("opensips.cfg"), collector, relay_to)
    }

    fn new(config: PathBuf, collector: SocketAddr, relay_to: String) -> Self {
        Self {
            config,
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            collector: format!("sip:{collector}"),
            session_id: "test-session".to_owned(),
            relay_to,
            shared_mib: 64,
            defines: BTreeMap::new(),
            bare: BTreeMap::new(),
            forced_panics: None,
        }
    }

    /// The same with another correlation id.
    pub fn session(mut self, id: &str) -> Self {
        self.session_id = id.to_owned();
        self
    }

    /// The same with the module that panics while `file` exists.
    pub fn panicking(mut self, file: PathBuf) -> Self {
        self.forced_panics = Some(file);
        self
    }

    /// The same with HEP over TCP instead of UDP.
    pub fn hep_over_tcp(mut self) -> Self {
        self.collector.push_str(";transport=tcp");
        self
    }

    /// The same on another address of the machine.
    pub fn on(mut self, ip: IpAddr) -> Self {
        self.ip = ip;
        self
    }

    /// The same with one more definition.
    pub fn define(mut self, name: &str, value: impl Into<String>) -> Self {
        self.defines.insert(name.to_owned(), value.into());
        self
    }

    /// The same with one more definition that is a number or a piece of configuration.
    pub fn define_bare(mut self, name: &str, value: impl Into<String>) -> Self {
        self.bare.insert(name.to_owned(), value.into());
        self
    }
}

/// A running SIP proxy with our module loaded. It ends when dropped.
pub trait Proxy {
    /// Which proxy and version.
    fn name(&self) -> String;
    /// Where it takes SIP over UDP and TCP.
    fn sip(&self) -> SocketAddr;
    /// Where it takes SIP over TLS.
    fn tls(&self) -> SocketAddr;
    /// The module's counters, by name, summed over the proxy's processes.
    fn stats(&mut self) -> Result<BTreeMap<String, u64>>;
    /// Everything it has logged.
    fn log(&self) -> String;
    /// Whether it is still running.
    fn is_running(&mut self) -> bool;
}
