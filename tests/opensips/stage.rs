//! What the cases with a real OpenSIPS share.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::ladder::{self, Roles};
use harness::opensips::Installed;
use harness::sipp::Transport;
use harness::{Backend, OpenSips, Proxy, Setup, Uas};
use serde_json::Value;

pub const LIMIT: Duration = Duration::from_secs(20);
pub const TRYING: &str = "proxy>uac 100 Giving it a try";

/// The installation, or `None` after saying that the case could not run.
pub fn installed(case: &str) -> Result<Option<Installed>> {
    let found = Installed::found()?;
    if found.is_none() {
        harness::skipped(case, "OPENSIPS_BIN names no OpenSIPS");
    }
    Ok(found)
}

macro_rules! installed {
    ($case:literal) => {
        match $crate::stage::installed($case)? {
            Some(installed) => installed,
            None => return Ok(()),
        }
    };
}

pub struct Stage {
    pub proxy: OpenSips,
    pub uas: Uas,
    pub backend: Backend,
}

impl Stage {
    pub fn modes(installed: &Installed, uas: Uas, adjust: impl FnOnce(Setup) -> Setup) -> Result<Self> {
        let backend = Backend::start()?;
        let setup = adjust(Setup::opensips_case("modes", backend.hep(), uas.uri()));
        Ok(Self { proxy: installed.start(&setup)?, uas, backend })
    }

    pub fn example(installed: &Installed, name: &str, adjust: impl FnOnce(Setup) -> Setup) -> Result<Self> {
        let (backend, uas) = (Backend::start()?, Uas::start(Transport::Udp)?);
        let setup = adjust(Setup::opensips_example(name, backend.hep(), uas.uri()));
        Ok(Self { proxy: installed.start(&setup)?, uas, backend })
    }

    pub fn roles(&self) -> Roles {
        Roles { proxy: vec![self.proxy.sip(), self.proxy.tls()], uas: self.uas.address() }
    }
}

/// Messages that cross the proxy: each is seen as it comes and as it goes.
pub fn crossing(steps: &[(&str, &str)]) -> Vec<String> {
    let each = steps.iter().flat_map(|(from, label)| {
        let to = if *from == "uac" { "uas" } else { "uac" };
        [format!("{from}>proxy {label}"), format!("proxy>{to} {label}")]
    });
    each.collect()
}

pub fn answered() -> Vec<String> {
    let mut rows = crossing(&[("uac", "INVITE"), ("uas", "180 Ringing"), ("uas", "200 OK"), ("uac", "ACK")]);
    rows.push(TRYING.to_owned());
    rows
}

pub fn whole_call() -> Vec<String> {
    let mut rows = answered();
    rows.extend(crossing(&[("uac", "BYE"), ("uas", "200 OK")]));
    rows
}

/// The ladder's arrows, in whatever order, and the id of every message.
pub fn check(stage: &Stage, call: &Value, session: &str, expected: Vec<String>) -> Result<()> {
    check_roles(stage, &stage.roles(), call, session, expected)
}

pub fn check_roles(
    stage: &Stage,
    roles: &Roles,
    call: &Value,
    session: &str,
    mut expected: Vec<String>,
) -> Result<()> {
    expected.sort();
    let rows = ladder::found(call, roles)?;
    let mut found: Vec<_> =
        rows.into_iter().map(|row| format!("{}>{} {}", row.from, row.to, row.label)).collect();
    found.sort();
    ensure!(found == expected, "expected\n{expected:#?}\nfound\n{found:#?}\n{}", stage.proxy.log());
    for message in call["messages"].as_array().into_iter().flatten() {
        ensure!(message["correlation_id"] == session, "{message}");
    }
    Ok(())
}
