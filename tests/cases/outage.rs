//! The collector is away: the proxy does not notice, and capture comes back by itself.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::sipp::Transport;
use harness::{Backend, Call, Kamailio, Proxy, Setup, Uas, eventually, ladder};

/// Longer than the module waits between two attempts to reach its collector.
const BACK: Duration = Duration::from_secs(60);

fn outage(over_tcp: bool) -> Result<()> {
    let mut backend = Backend::start()?;
    let uas = Uas::start(Transport::Udp)?;
    let setup = Setup::example("full", backend.hep(), uas.uri()).session("outage");
    let mut proxy = Kamailio::start(&if over_tcp { setup.hep_over_tcp() } else { setup })?;

    let messages = ladder::expected("call")?.len();
    let before = Call::new("call").place(proxy.sip(), Transport::Udp)?;
    backend.call(&before.call_id, messages)?;

    backend.stop()?;
    let began = Instant::now();
    Call::new("call").times(100, 50).place(proxy.sip(), Transport::Udp)?;
    ensure!(
        began.elapsed() < Duration::from_secs(20),
        "calls took {:?} with the collector away",
        began.elapsed()
    );
    ensure!(proxy.is_running(), "kamailio ended with the collector away\n{}", proxy.log());

    backend.restart()?;
    eventually("capture after the collector is back", BACK, || {
        let after = Call::new("call").place(proxy.sip(), Transport::Udp)?;
        eventually("this call", Duration::from_secs(2), || {
            let call = backend.api().get(&format!("/api/v1/calls/{}", after.call_id))?;
            ensure!(call["messages"].as_array().map(Vec::len) >= Some(messages), "not all of it");
            Ok(())
        })
    })?;
    backend.call(&before.call_id, messages)?;
    Ok(())
}

#[test]
fn kamailio_keeps_answering_while_its_udp_collector_is_away() -> Result<()> {
    outage(false)
}

#[test]
fn kamailio_keeps_answering_while_its_tcp_collector_is_away() -> Result<()> {
    outage(true)
}

#[test]
fn kamailio_starts_and_answers_before_its_collector_does() -> Result<()> {
    let mut backend = Backend::start()?;
    backend.stop()?;
    let uas = Uas::start(Transport::Udp)?;
    let proxy =
        Kamailio::start(&Setup::example("full", backend.hep(), uas.uri()).session("late").hep_over_tcp())?;
    Call::new("call").place(proxy.sip(), Transport::Udp)?;
    backend.restart()?;
    eventually("capture after the collector is there", BACK, || {
        let after = Call::new("call").place(proxy.sip(), Transport::Udp)?;
        eventually("this call", Duration::from_secs(2), || {
            backend.api().get(&format!("/api/v1/calls/{}", after.call_id))
        })
    })?;
    Ok(())
}
