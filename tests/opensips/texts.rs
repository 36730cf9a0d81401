//! What the script itself has to say: `hlog` and `sip_trace_msg`, in the host of our own and in the real one.

use anyhow::{Result, ensure};
use harness::collector::Seen;
use harness::sipp::Transport;
use harness::{Call, Collector, Proxy, Setup, Uas};

use crate::host::Host;
use crate::hosted::{calling, end, everything, in_every_version};
use crate::stage::{LIMIT, whole_call};

const SIP: u8 = 1;
const LOG: u8 = 100;
const REQUEST: &str = "in 0 udp 127.0.0.1:5070 127.0.0.2:5060 INVITE call-1 1 500";

fn texts(packets: &[Seen]) -> Vec<(Option<u8>, Option<&str>, &str)> {
    packets
        .iter()
        .map(|packet| (packet.protocol_type, packet.correlation_id.as_deref(), packet.payload.as_str()))
        .collect()
}

#[test]
fn a_line_has_the_id_of_its_argument_else_of_its_call() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        let mut lines = calling(&collector, "|session|d");
        lines.extend(
            ["script hlog|one", "script hlog|mine|two", "script siplens_hlog|$null"].map(str::to_owned),
        );
        let mut host = Host::running(version, &lines)?;
        assert_eq!(host.ask(REQUEST)?, "1");
        let packets = collector.wait_for(3, LIMIT)?;
        let [_, lines @ ..] = &packets[..] else { anyhow::bail!("{packets:?}") };
        assert_eq!(texts(lines), [(Some(LOG), Some("session"), "one"), (Some(LOG), Some("mine"), "two")]);
        for line in lines {
            // The proxy has said it, and to nobody; and it belongs to this call.
            assert_eq!((line.src, line.dst), (end("127.0.0.2:5060"), end("127.0.0.2:5060")));
            assert_eq!(line.call_id.as_deref(), Some("call-1"));
        }
        // The empty one was not wanted.
        assert_eq!(host.settled()?["filtered"], 1);
        Ok(())
    })
}

#[test]
fn a_text_that_is_sip_is_a_message_between_the_ends_it_is_given() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        let mut lines = everything(&collector);
        let sip = "$OPTIONS sip:a@b SIP/2.0~From: <sip:c@d>;tag=1~Call-ID: made-up~CSeq: 1 OPTIONS~~";
        let uri = format!("udp:{}", collector.address());
        lines.extend([
            format!("script sip_trace_msg|{sip}"),
            format!("script sip_trace_msg|plain|udp:192.0.2.1:5|tls:[2001:db8::1]:6|{uri}|given"),
            "script sip_trace_msg|plain|$nowhere".to_owned(),
        ]);
        let mut host = Host::running(version, &lines)?;
        host.ask(REQUEST)?;
        let stats = host.settled()?;
        let mut packets = collector.wait_for(3, LIMIT)?;
        packets.retain(|packet| packet.start_line() != "INVITE sip:bob@127.0.0.1 SIP/2.0");
        let [first, second] = &packets[..] else { anyhow::bail!("{packets:?}") };
        assert_eq!((first.protocol_type, first.correlation_id.as_deref()), (Some(SIP), Some("made-up")));
        assert_eq!((first.src, first.dst), (end("127.0.0.1:5070"), end("127.0.0.2:5060")));
        assert_eq!(texts(std::slice::from_ref(second)), [(Some(LOG), Some("given"), "plain")]);
        assert_eq!((second.src, second.dst), (end("192.0.2.1:5"), end("[2001:db8::1]:6")));
        assert_eq!(stats["dropped_refused"], 1, "{stats:?}");
        let log = host.log();
        assert_eq!(log.matches("sip_trace_msg: source and destination: expected").count(), 1, "{log}");
        Ok(())
    })
}

#[test]
fn an_id_that_the_script_chose_is_not_the_next_messages() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        let mut host = Host::running(version, &calling(&collector, "|-|m"))?;
        host.ask(REQUEST)?;
        assert_eq!(host.ask("set 0 siplens(id) chosen")?, "0");
        // It lies where the one before lay.
        host.ask(&REQUEST.replace("call-1", "call-2"))?;
        let packets = collector.wait_for(2, LIMIT)?;
        let ids: Vec<_> = packets.iter().map(|packet| packet.correlation_id.as_deref()).collect();
        assert_eq!(ids, [Some("call-1"), Some("call-2")]);
        Ok(())
    })
}

#[test]
fn lines_and_texts_of_a_script_come_with_its_call() -> Result<()> {
    let installed = installed!("lines_and_texts_of_a_script_come_with_its_call");
    let collector = Collector::start()?;
    let uas = Uas::start(Transport::Udp)?;
    let setup = Setup::opensips_case("modes", collector.address(), uas.uri()).define("EVERYTHING", "yes");
    let proxy = installed.start(&setup.define("TEXTS", "yes"))?;
    let placed = Call::new("call").place(proxy.sip(), Transport::Udp)?;
    let packets = collector.wait_for(whole_call().len() + 3, LIMIT)?;
    ensure!(packets.len() == whole_call().len() + 3, "{packets:?}");
    let (lines, messages): (Vec<_>, Vec<_>) =
        packets.into_iter().partition(|packet| packet.protocol_type == Some(LOG));
    assert!(messages.iter().all(|packet| packet.protocol_type == Some(SIP)));
    let about = format!("a line about {}", placed.call_id);
    let expected = [
        (Some(LOG), Some(placed.call_id.as_str()), about.as_str()),
        (Some(LOG), Some("other-id"), "a line of its own"),
        (Some(LOG), Some("text-id"), "made up INVITE"),
    ];
    assert_eq!(texts(&lines), expected);
    Ok(())
}
