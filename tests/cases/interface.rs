//! Capture on one side of the proxy only.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Result;
use harness::sipp::Transport;
use harness::{Call, Proxy};

use crate::stage::Stage;

const OUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

#[test]
fn only_what_arrives_at_the_named_interface_is_captured() -> Result<()> {
    let stage = Stage::case("one_interface", |setup| {
        setup
            .session("outer")
            .define("OUTER_IP", OUTER.to_string())
            .define("LISTEN", format!("udp:{OUTER}:SIP_PORT"))
    })?;
    let inner = stage.proxy.sip();
    let outer = SocketAddr::new(OUTER, inner.port());

    let hidden = Call::new("call").place(inner, Transport::Udp)?;
    let seen = Call::new("call").place(outer, Transport::Udp)?;

    let call = stage.backend.call(&seen.call_id, 3)?;
    let messages = call["messages"].as_array().unwrap();
    let methods: Vec<_> =
        messages.iter().map(|message| message["method"].as_str().unwrap_or_default()).collect();
    assert_eq!(methods, ["INVITE", "ACK", "BYE"]);
    for message in messages {
        assert_eq!(message["kind"], "request");
        assert_eq!(message["dst"], outer.to_string().as_str());
    }

    // The inner side's call was placed first: had any of its messages been sent, it would be there by now.
    let everything = stage.backend.api().all("/api/v1/messages?correlation_id=outer")?;
    assert_eq!(everything.len(), messages.len());
    assert_ne!(hidden.call_id, seen.call_id);
    assert_eq!(stage.backend.api().fetch(&format!("/api/v1/calls/{}", hidden.call_id))?.status, 404);
    Ok(())
}
