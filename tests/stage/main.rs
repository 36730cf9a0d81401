#![forbid(unsafe_code)]
//! Runs a command next to a real backend with a real call in it, and ends with the command's status.
//!
//! The command finds in its environment: `SIPLENS_HTTP_URL`, `SIPLENS_CUSTOMER_URL`, `SIPLENS_CALL_ID` and
//! `SIPLENS_CORRELATION_ID` (an answered call through Kamailio and its session), `SIPLENS_HOSTILE_CALL_ID` (a call
//! whose every field tries to become markup), `SIPLENS_EVENT_CALL_ID` (a call with log lines and reports).

use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use harness::sipp::Transport;
use harness::{
    Agent, Backend, BackendSetup, Call, Kamailio, Observed, Proxy, Setup, Uas, answered_call, ladder,
};

const SESSION: &str = "browser-session";
const WITH_EVENTS: &str = "other@siplens.test";
const HOSTILE: &str = "hostile\"'<img src=x onerror=alert(1)>&amp;@siplens.test";

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else { bail!("usage: stage COMMAND [ARGUMENT…]") };

    // The page that frames a customer link in the tests may stand anywhere on loopback.
    let config =
        "[customer]\nframe_ancestors = [\"http://127.0.0.1:*\", \"http://localhost:*\"]\n".to_owned();
    let backend = Backend::start_with(BackendSetup { config: Some(config), ..BackendSetup::default() })?;
    let uas = Uas::start(Transport::Udp)?;
    let proxy = Kamailio::start(&Setup::example("full", backend.hep(), uas.uri()).session(SESSION))?;
    let placed = Call::new("reinvite").place(proxy.sip(), Transport::Udp)?;
    let busy = Call::new("busy").to("busy").place(proxy.sip(), Transport::Udp)?;

    let mut agent = Agent::udp(backend.hep())?;
    agent.send_all(&answered_call(WITH_EVENTS, "other-session", Duration::from_secs(60)))?;
    agent.send_all(&events(WITH_EVENTS, Duration::from_secs(60)))?;
    agent.send_all(&hostile())?;
    agent.send_bytes(b"<b>no HEP</b>")?;

    backend.call(&placed.call_id, ladder::expected("reinvite")?.len())?;
    backend.call(&busy.call_id, ladder::expected("busy")?.len())?;
    backend.call(HOSTILE, 3)?;
    backend.call(WITH_EVENTS, 10)?;

    let status = Command::new(&program)
        .args(arguments)
        .env("SIPLENS_HTTP_URL", backend.http_url())
        .env("SIPLENS_CUSTOMER_URL", backend.customer_url())
        .env("SIPLENS_CALL_ID", &placed.call_id)
        .env("SIPLENS_CORRELATION_ID", SESSION)
        .env("SIPLENS_HOSTILE_CALL_ID", HOSTILE)
        .env("SIPLENS_EVENT_CALL_ID", WITH_EVENTS)
        .status()
        .with_context(|| format!("cannot run {}", program.display()))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Two log lines, a report and RTCP as it is on the wire, for a call that began `age` ago.
fn events(call_id: &str, age: Duration) -> Vec<Observed> {
    let report =
        format!("{{\"call_id\":\"{call_id}\",\"mos\":4.31,\"streams\":[{{\"ssrc\":2748,\"lost\":3}}]}}");
    let payloads: [(u8, &[u8]); 4] = [
        (100, b"route[MAIN]: alice is authenticated, next hop is 127.0.0.1:5090, trunk 7, no ENUM entry, tried LCR"),
        (100, b"onreply_route[RTP]: answer rewritten"),
        (5, b"\x80\xc9\x00\x01\x12\x34\xab\xcd"),
        (35, report.as_bytes()),
    ];
    let start = SystemTime::now() - age;
    let steps = (0u64..).map(|step| start + Duration::from_millis(5 + 12 * step));
    let event = |(protocol_type, raw)| Observed { protocol_type, ..Observed::raw(raw) }.in_session(call_id);
    payloads.into_iter().map(event).zip(steps).map(|(event, at)| event.at(at)).collect()
}

/// An INVITE, its reply and a log line, full of markup.
fn hostile() -> [Observed; 3] {
    let markup = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">";
    let headers = format!(
        "Via: SIP/2.0/UDP 127.0.0.1:5080;branch=z9hG4bK-hostile\r\n\
         From: \"{markup}\" <sip:<b>alice</b>@127.0.0.1>;tag=<i>a</i>\r\nTo: <sip:<b>bob</b>@127.0.0.1>\r\n\
         Call-ID: {HOSTILE}\r\nCSeq: 1 INVITE\r\nUser-Agent: {markup}\r\nSubject: {markup}\r\n"
    );
    let invite = Observed::raw(format!("INVITE sip:<b>bob</b>@127.0.0.1 SIP/2.0\r\n{headers}\r\n{markup}"));
    let reply = Observed::raw(format!("SIP/2.0 486 {markup}\r\n{headers}\r\n"));
    let reply = Observed { src: reply.dst, dst: reply.src, ..reply };
    let log = Observed { protocol_type: 100, ..Observed::raw(markup) };
    [invite, reply, log].map(|message| message.in_session(HOSTILE))
}
