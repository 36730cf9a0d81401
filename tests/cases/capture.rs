//! What the module itself sends, seen by a bare collector, and its controls.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::kamailio::wait_for_stat;
use harness::sipp::Transport;
use harness::{Call, Collector, Kamailio, Proxy, Setup, Uas, eventually, ladder};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn every_packet_carries_addresses_time_agent_and_session() -> Result<()> {
    let collector = Collector::start()?;
    let uas = Uas::start(Transport::Udp)?;
    let proxy = Kamailio::start(&Setup::example("full", collector.address(), uas.uri()).session("bare"))?;
    Call::new("call").place(proxy.sip(), Transport::Udp)?;

    let expected = ladder::expected("call")?.len();
    let mut packets = collector.wait_for(expected, LIMIT)?;
    assert_eq!(packets.len(), expected);
    // Each of Kamailio's processes has a queue of its own: packets may overtake each other, their times tell the order.
    packets.sort_by_key(|packet| packet.captured_at_us);
    for packet in &packets {
        assert!(
            packet.src.is_some() && packet.dst.is_some() && packet.captured_at_us.is_some(),
            "{packet:?}"
        );
        assert_eq!(packet.ip_protocol, Some(17));
        assert_eq!(packet.agent_id, Some(2001));
        assert_eq!(packet.correlation_id.as_deref(), Some("bare"));
        assert!(packet.payload.contains("\r\nCall-ID:") || packet.payload.contains("\r\ni:"));
    }
    assert!(packets[0].start_line().starts_with("INVITE "));
    Ok(())
}

/// Kamailio works on one message after the other at the same place in its memory.
#[test]
fn no_message_is_taken_for_another_one_that_was_at_the_same_place() -> Result<()> {
    const CALLS: usize = 40;
    let (collector, uas) = (Collector::start()?, Uas::start(Transport::Udp)?);
    let proxy = Kamailio::start(&Setup::example("full", collector.address(), uas.uri()).hep_over_tcp())?;
    Call::new("call").times(40, 40).place(proxy.sip(), Transport::Udp)?;

    let expected = CALLS * ladder::expected("call")?.len();
    eventually("every message", LIMIT, || {
        let packets = collector.packets()?;
        // A retransmission is the same message on the same hop.
        let different: BTreeSet<_> =
            packets.iter().map(|packet| (packet.src, packet.dst, packet.payload.as_str())).collect();
        ensure!(different.len() == expected, "{} of {expected}", different.len());
        Ok(())
    })
}

#[test]
fn capture_is_switched_off_and_on_while_running() -> Result<()> {
    let collector = Collector::start()?;
    let uas = Uas::start(Transport::Udp)?;
    let proxy = Kamailio::start(&Setup::example("full", collector.address(), uas.uri()))?;
    let expected = ladder::expected("call")?.len();

    proxy.rpc(&["siplens.disable"])?;
    Call::new("call").place(proxy.sip(), Transport::Udp)?;
    proxy.rpc(&["siplens.enable"])?;
    Call::new("call").place(proxy.sip(), Transport::Udp)?;

    let packets = collector.wait_for(expected, LIMIT)?;
    assert_eq!(packets.len(), expected, "the call placed while capture was off came too");
    Ok(())
}

#[test]
fn the_module_counts_what_it_offered() -> Result<()> {
    let collector = Collector::start()?;
    let uas = Uas::start(Transport::Udp)?;
    let mut proxy = Kamailio::start(&Setup::example("full", collector.address(), uas.uri()))?;
    Call::new("call").place(proxy.sip(), Transport::Udp)?;

    let expected = ladder::expected("call")?.len() as u64;
    let sent = wait_for_stat(&mut proxy, "sent", expected, LIMIT)?;
    assert_eq!(sent, expected);
    Ok(())
}

#[test]
fn kamailio_ends_when_it_is_told_to() -> Result<()> {
    let collector = Collector::start()?;
    let uas = Uas::start(Transport::Udp)?;
    let mut proxy = Kamailio::start(&Setup::example("full", collector.address(), uas.uri()))?;
    Call::new("call").place(proxy.sip(), Transport::Udp)?;
    proxy.stop()
}
