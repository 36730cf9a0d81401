#![forbid(unsafe_code)]
//! Real processes for the end-to-end cases: a SIP proxy with the module, sipp, the backend, PostgreSQL.
//!
//! Each of them takes free ports and a temporary directory of its own and is ended when its value is dropped, so
//! cases run side by side and several test runs do not collide. Nothing here sleeps for a fixed time where a
//! condition can be polled: see [`wait_until`].
//!
//! ```no_run
//! use harness::{Backend, Call, Kamailio, Proxy, Setup, Uas, sipp::Transport};
//! # fn main() -> anyhow::Result<()> {
//! let backend = Backend::start()?;
//! let uas = Uas::start(Transport::Udp)?;
//! let proxy = Kamailio::start(&Setup::example("full", backend.hep(), uas.uri()))?;
//! let placed = Call::new("call").place(proxy.sip(), Transport::Udp)?;
//! println!("{}", backend.call(&placed.call_id, 9)?["ladder"]);
//! # Ok(())
//! # }
//! ```

pub mod agent;
pub mod api;
pub mod backend;
pub mod clickhouse;
pub mod collector;
pub mod kamailio;
pub mod ladder;
pub mod opensips;
pub mod paths;
pub mod port;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod scripted;
pub mod siplens_agent;
pub mod sipp;
pub mod wait;

pub use agent::{Agent, Observed, answered_call};
pub use api::{Api, Response};
pub use backend::{Backend, BackendSetup};
pub use clickhouse::Clickhouse;
pub use collector::Collector;
pub use kamailio::Kamailio;
pub use opensips::OpenSips;
pub use postgres::Postgres;
pub use proxy::{Proxy, Setup};
pub use scripted::{Carrier, TlsUas};
pub use siplens_agent::SiplensAgent;
pub use sipp::{Call, Uas};
pub use wait::{eventually, wait_until};

/// Says in the test run's output, which hides what passing tests print, that a case could not say anything, and why.
pub fn skipped(case: &str, why: &str) {
    use std::io::Write;
    // In one piece: cases say so at the same time, and the summary reads lines.
    let line = format!("\nSKIPPED: {case}: {why}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}
