//! What most cases need: a backend, somebody who answers, and a proxy between them.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::Result;
use harness::ladder::Roles;
use harness::sipp::Transport;
use harness::{Backend, Kamailio, Proxy, Setup, Uas};

pub struct Stage {
    pub proxy: Kamailio,
    pub uas: Uas,
    pub backend: Backend,
}

impl Stage {
    /// The full example, with calls over UDP towards the called side.
    pub fn new(session: &str) -> Result<Self> {
        Self::with(Backend::start()?, Transport::Udp, |setup| setup.session(session))
    }

    /// The full example on `backend`, adjusted.
    pub fn with(backend: Backend, to_uas: Transport, adjust: impl FnOnce(Setup) -> Setup) -> Result<Self> {
        let uas = Uas::start(to_uas)?;
        let proxy = Kamailio::start(&adjust(Setup::example("full", backend.hep(), uas.uri())))?;
        Ok(Self { proxy, uas, backend })
    }

    /// The configuration of tests/scenarios/`case`, adjusted.
    pub fn case(case: &str, adjust: impl FnOnce(Setup) -> Setup) -> Result<Self> {
        let (backend, uas) = (Backend::start()?, Uas::start(Transport::Udp)?);
        let proxy = Kamailio::start(&adjust(Setup::case(case, backend.hep(), uas.uri())))?;
        Ok(Self { proxy, uas, backend })
    }

    /// The full example with both sides on IPv6.
    pub fn on_ipv6(session: &str) -> Result<Self> {
        let loopback = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let (backend, uas) = (Backend::start()?, Uas::start_on(loopback, Transport::Udp)?);
        let setup = Setup::example("full", backend.hep(), uas.uri()).session(session).on(loopback);
        Ok(Self { proxy: Kamailio::start(&setup)?, uas, backend })
    }

    pub fn roles(&self) -> Roles {
        Roles { proxy: vec![self.proxy.sip(), self.proxy.tls()], uas: self.uas.address() }
    }
}
