//! The shipped examples work as they are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::sipp::Transport;
use harness::{Call, Collector, Kamailio, Proxy, Setup, Uas, backend, kamailio, paths};

fn examples(folder: &str, extension: &str) -> Result<Vec<PathBuf>> {
    let folder = paths::repository().join("cfg-examples").join(folder);
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.retain(|path| path.extension().is_some_and(|found| found == extension));
    found.sort();
    ensure!(!found.is_empty(), "no examples in {}", folder.display());
    Ok(found)
}

fn name(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
}

#[test]
fn kamailio_finds_every_example_good() -> Result<()> {
    examples("kamailio", "cfg")?.iter().try_for_each(|config| kamailio::check(config))
}

#[test]
fn every_kamailio_example_captures_a_call() -> Result<()> {
    for config in examples("kamailio", "cfg")? {
        let collector = Collector::start()?;
        let uas = Uas::start(Transport::Udp)?;
        let proxy = Kamailio::start(
            &Setup::example(name(&config), collector.address(), uas.uri()).session("example"),
        )?;
        Call::new("call").place(proxy.sip(), Transport::Udp).with_context(|| config.display().to_string())?;
        let packets =
            collector.wait_for(4, Duration::from_secs(20)).with_context(|| config.display().to_string())?;
        assert!(
            packets.iter().all(|packet| packet.correlation_id.as_deref() == Some("example")),
            "{}",
            config.display()
        );
    }
    Ok(())
}

#[test]
fn the_backend_finds_every_example_good() -> Result<()> {
    for config in examples("backend", "toml")? {
        let output = backend::check_config(&config)?;
        ensure!(output.status.success(), "{}: {}", config.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
