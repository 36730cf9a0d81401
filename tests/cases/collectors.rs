//! Several collectors, and collectors over TLS.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::process::Process;
use harness::sipp::Transport;
use harness::{Call, Collector, Kamailio, Proxy, Setup, Uas, eventually, paths, port};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(20);
/// Longer than the pause after which a preferred collector is tried again.
const BACK: Duration = Duration::from_secs(40);
/// Requests of a call, and its replies as the script sees them.
const EACH: u64 = 6;

fn sent(proxy: &mut Kamailio, count: u64) -> Result<()> {
    eventually("all to be sent", LIMIT, || {
        let stats = proxy.stats()?;
        ensure!(stats["sent"] == count && stats["in_queue"] == 0, "{stats:?}");
        Ok(())
    })
}

#[test]
fn the_second_collector_takes_over_and_the_first_gets_the_messages_when_it_is_back() -> Result<()> {
    let (first, second, uas) = (Collector::start()?, Collector::start()?, Uas::start(Transport::Tcp)?);
    let preferred = first.address();
    let mut setup = Setup::case("bad_input", preferred, uas.uri()).session("failover").define("MODE", "m");
    setup.collector = format!("tcp:{preferred},tcp:{}", second.address());
    let mut proxy = Kamailio::start(&setup)?;
    let call = || Call::new("call").place(proxy.sip(), Transport::Tcp);
    call()?;
    assert_eq!(first.wait_for(EACH as usize, LIMIT)?.len(), EACH as usize);

    drop(first);
    // What goes into a connection before its end is noticed is lost, so it has to be noticed first.
    call()?;
    eventually("the second collector", LIMIT, || {
        call()?;
        second.wait_for(EACH as usize, Duration::from_secs(2))
    })?;

    let first = Collector::start_on(preferred)?;
    eventually("the first collector again", BACK, || {
        call()?;
        first.wait_for(EACH as usize, Duration::from_secs(2))
    })?;
    let at_second = second.packets()?.len();
    call()?;
    first.wait_for(2 * EACH as usize, LIMIT)?;
    assert_eq!(second.packets()?.len(), at_second, "the second gets nothing any more");
    let log = proxy.log();
    for (what, times) in [("ready", 3), ("trying again", 1)] {
        assert_eq!(
            log.lines().filter(|line| line.contains("collector ") && line.contains(what)).count(),
            times,
            "{log}"
        );
    }
    let stats = proxy.stats()?;
    assert_eq!(stats["dropped"], 0, "{stats:?}");
    Ok(())
}

#[test]
fn the_mirror_gets_everything_and_costs_the_collector_nothing_when_it_is_away() -> Result<()> {
    let (collector, mirror, uas) = (Collector::start()?, Collector::start()?, Uas::start(Transport::Tcp)?);
    let setup = Setup::case("bad_input", collector.address(), uas.uri())
        .hep_over_tcp()
        .define("MODE", "m")
        .define("MIRROR", format!("tcp:{}", mirror.address()));
    let mut proxy = Kamailio::start(&setup)?;
    Call::new("call").times(10, 50).place(proxy.sip(), Transport::Tcp)?;
    sent(&mut proxy, 10 * EACH)?;
    let (there, copies) = (collector.wait_for(60, LIMIT)?, mirror.wait_for(10 * EACH as usize, LIMIT)?);
    let payloads = |packets: Vec<harness::collector::Seen>| {
        let mut payloads: Vec<_> = packets.into_iter().map(|packet| packet.payload).collect();
        payloads.sort();
        payloads
    };
    assert_eq!(payloads(there), payloads(copies));

    drop(mirror);
    Call::new("call").times(10, 50).place(proxy.sip(), Transport::Tcp)?;
    sent(&mut proxy, 20 * EACH)?;
    assert_eq!(collector.wait_for(20 * EACH as usize, LIMIT)?.len(), 20 * EACH as usize);
    Ok(())
}

/// An authority with a certificate for `collector.test` and one for a client, all made for one case.
pub(crate) struct Authority {
    dir: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Result<Self> {
        let authority = Self { dir: tempfile::tempdir()? };
        authority.certificate("ca", "/CN=authority", None)?;
        authority.certificate("server", "/CN=server", Some("subjectAltName=DNS:collector.test"))?;
        authority.certificate("client", "/CN=proxy", Some("extendedKeyUsage=clientAuth"))?;
        Ok(authority)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Made by itself, or if there is an extension, by the authority.
    fn certificate(&self, name: &str, subject: &str, extension: Option<&str>) -> Result<()> {
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        command.args(["-days", "2", "-subj", subject]);
        command.arg("-keyout").arg(self.file(&format!("{name}.key")));
        command.arg("-out").arg(self.file(&format!("{name}.crt")));
        if let Some(extension) = extension {
            command.args(["-addext", extension, "-addext", "basicConstraints=critical,CA:FALSE"]);
            command.arg("-CA").arg(self.file("ca.crt")).arg("-CAkey").arg(self.file("ca.key"));
        }
        let output = command.output()?;
        ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

/// A TLS server that asks for a certificate of our authority, and writes what it is sent to a file.
struct TlsCollector {
    address: SocketAddr,
    received: PathBuf,
    process: Process,
}

impl TlsCollector {
    fn start(authority: &Authority) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port::free()?));
        let received = authority.file("received");
        let mut command = Command::new("python3");
        command.arg(paths::scenario("tls_collector.py"));
        command.args([address.ip().to_string(), address.port().to_string()]);
        command.args(["server.crt", "server.key", "ca.crt"].map(|file| authority.file(file)));
        let mut process = Process::start("TLS collector", command, &received, false)?;
        process.wait_ready(LIMIT, || port::is_taken(address.port()))?;
        Ok(Self { address, received, process })
    }

    fn received(&self) -> Vec<u8> {
        std::fs::read(&self.received).unwrap_or_default()
    }
}

/// A proxy whose collector is this one over TLS.
fn over_tls(
    authority: &Authority,
    collector: &TlsCollector,
    uas: &Uas,
    name: &str,
    client: &Path,
) -> Result<Kamailio> {
    let text = |path: PathBuf| path.display().to_string();
    let mut setup = Setup::case("bad_input", collector.address, uas.uri())
        .session("over-tls")
        .define("MODE", "m")
        .define("TLS_CA", text(authority.file("ca.crt")))
        .define("CLIENT_CERT", text(client.with_extension("crt")))
        .define("CLIENT_KEY", text(client.with_extension("key")))
        .define("SERVER_NAME", name);
    setup.collector = format!("tls:{}", collector.address);
    Kamailio::start(&setup)
}

#[test]
fn a_tls_collector_that_both_sides_can_vouch_for_gets_the_messages() -> Result<()> {
    let authority = Authority::new()?;
    let (mut collector, uas) = (TlsCollector::start(&authority)?, Uas::start(Transport::Tcp)?);
    let client = authority.file("client");
    let mut proxy = over_tls(&authority, &collector, &uas, "collector.test", &client)?;
    Call::new("call").place(proxy.sip(), Transport::Tcp)?;
    sent(&mut proxy, EACH)?;
    eventually("the decrypted packets", LIMIT, || {
        let received = collector.received();
        let count = |what: &[u8]| received.windows(what.len()).filter(|part| *part == what).count() as u64;
        ensure!(
            count(b"HEP3") == EACH && count(b"over-tls") == EACH,
            "{}",
            String::from_utf8_lossy(&received)
        );
        Ok(())
    })?;
    ensure!(collector.process.exited().is_none());
    Ok(())
}

/// Fails unless a call goes well, nothing is sent, and why is said once.
fn kept_back(proxy: &mut Kamailio, collector: &TlsCollector, why: &str) -> Result<()> {
    Call::new("call").place(proxy.sip(), Transport::Tcp)?;
    eventually("the log's line", LIMIT, || {
        ensure!(proxy.log().matches("trying again").count() == 1, "{}", proxy.log());
        Ok(())
    })?;
    assert!(proxy.log().contains(why), "{}", proxy.log());
    let stats = proxy.stats()?;
    assert_eq!((stats["sent"], stats["in_queue"]), (0, EACH), "{stats:?}");
    let received = collector.received();
    assert!(!received.windows(4).any(|part| part == b"HEP3"), "{}", String::from_utf8_lossy(&received));
    Ok(())
}

#[test]
fn a_tls_collector_with_another_name_gets_nothing() -> Result<()> {
    let authority = Authority::new()?;
    let (collector, uas) = (TlsCollector::start(&authority)?, Uas::start(Transport::Tcp)?);
    let client = authority.file("client");
    let mut proxy = over_tls(&authority, &collector, &uas, "another.test", &client)?;
    kept_back(&mut proxy, &collector, "another.test")
}

#[test]
fn a_tls_collector_of_an_unknown_authority_gets_nothing() -> Result<()> {
    let (authority, other) = (Authority::new()?, Authority::new()?);
    let (collector, uas) = (TlsCollector::start(&other)?, Uas::start(Transport::Tcp)?);
    let client = authority.file("client");
    let mut proxy = over_tls(&authority, &collector, &uas, "collector.test", &client)?;
    kept_back(&mut proxy, &collector, "certificate")
}
