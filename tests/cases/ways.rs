//! HEP by other ways than UDP and TCP, and settings that change while the backend runs.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::kamailio::wait_for_stat;
use harness::sipp::Transport;
use harness::{
    Agent, Backend, BackendSetup, Call, Kamailio, Observed, Proxy, Setup, Uas, eventually, ladder,
};

use crate::collectors::Authority;

const LIMIT: Duration = Duration::from_secs(30);

fn start(config: String) -> Result<Backend> {
    Backend::start_with(BackendSetup { config: Some(config), ..BackendSetup::default() })
}

#[test]
fn a_proxy_sends_over_tls_with_a_certificate_of_its_own() -> Result<()> {
    let authority = Authority::new()?;
    let file = |name: &str| authority.file(name).display().to_string();
    let backend = start(format!(
        "[hep]\ntls_listen = \"127.0.0.1:0\"\ntls_certificate = {:?}\ntls_key = {:?}\ntls_client_ca = {:?}\n",
        file("server.crt"),
        file("server.key"),
        file("ca.crt")
    ))?;
    let tls: SocketAddr = backend.listener("hep-tls")?.parse()?;
    let uas = Uas::start(Transport::Udp)?;
    let mut setup = Setup::case("bad_input", tls, uas.uri())
        .session("over-tls")
        .define("MODE", "d")
        .define("TLS_CA", file("ca.crt"))
        .define("CLIENT_CERT", file("client.crt"))
        .define("CLIENT_KEY", file("client.key"))
        .define("SERVER_NAME", "collector.test");
    setup.collector = format!("tls:{tls}");
    let mut proxy = Kamailio::start(&setup)?;
    let placed = Call::new("call").place(proxy.sip(), Transport::Udp)?;
    let messages = ladder::expected("call")?.len();
    let call = backend.call(&placed.call_id, messages)?;
    assert_eq!(call["correlation_ids"][0], "over-tls");
    wait_for_stat(&mut proxy, "acknowledged", messages as u64, LIMIT)?;
    let metrics = backend.api().fetch("/metrics")?.text();
    ensure!(
        metrics.contains("transport=\"tls\",result=\"accepted\"") && !metrics.contains("transport=\"udp\""),
        "{metrics}"
    );
    // Without a certificate nothing gets in.
    let mut stranger = TcpStream::connect(tls)?;
    stranger.write_all(&Observed::request("OPTIONS", "stranger", 1).encode()?)?;
    eventually("a failed handshake", LIMIT, || {
        ensure!(backend.api().metric("siplens_ingest_tls_failed_total")? >= 1.0);
        Ok(())
    })
}

#[test]
fn a_unix_socket_and_http_are_ways_in() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("hep.sock");
    let mut backend = start(format!(
        "[hep]\nunix_listen = {:?}\nhttp_listen = \"127.0.0.1:0\"\n",
        path.display().to_string()
    ))?;
    UnixStream::connect(backend.listener("hep-unix")?)?
        .write_all(&Observed::request("OPTIONS", "by-unix", 1).encode()?)?;
    backend.call("by-unix", 1)?;
    let packets = [
        Observed::request("OPTIONS", "by-http", 1).encode()?,
        Observed::reply("200 OK", "OPTIONS", "by-http", 1).encode()?,
    ]
    .concat();
    let url = backend.listener("hep-http")?.to_owned();
    let mut answer = ureq::post(&url).send(&packets[..])?;
    assert_eq!(answer.body_mut().read_to_string()?, "{\"accepted\":2,\"refused\":{}}");
    backend.call("by-http", 2)?;
    backend.stop()?;
    assert!(!path.exists(), "the socket's file goes with the backend");
    Ok(())
}

#[test]
fn a_hangup_reads_the_rules_again_and_mistakes_change_nothing() -> Result<()> {
    let backend = start("[admission]\nnetworks = [\"192.0.2.0/24\"]\n".to_owned())?;
    let refused = || -> Result<bool> {
        let before = backend.api().metric("siplens_ingest_peer_refused_total")?;
        Agent::udp(backend.hep())?.send(&Observed::request("OPTIONS", "after", 1))?;
        std::thread::sleep(Duration::from_millis(300));
        Ok(backend.api().metric("siplens_ingest_peer_refused_total")? > before)
    };
    assert!(refused()?);
    std::fs::write(backend.config(), "[admission]\nnetworks = [\"everywhere\"]\n")?;
    backend.hang_up()?;
    eventually("a word about the mistake", LIMIT, || {
        ensure!(backend.log().contains("admission.networks: expected address/bits, found \"everywhere\""));
        Ok(())
    })?;
    assert!(refused()?);
    std::fs::write(backend.config(), "[admission]\nnetworks = [\"127.0.0.0/8\"]\n")?;
    backend.hang_up()?;
    eventually("a message", LIMIT, || {
        ensure!(!refused()?);
        Ok(())
    })?;
    backend.call("after", 1)?;
    Ok(())
}
