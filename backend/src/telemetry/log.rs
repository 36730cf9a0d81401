//! Log lines, on standard error. Never in them: message bodies, Authorization headers, link tokens, keys.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config;

/// Starts logging. A second call changes nothing.
pub fn start(settings: &config::Log) {
    // The libraries below are quiet unless they fail.
    let filter = EnvFilter::new(format!("warn,siplens={0},siplens_backend={0}", settings.level));
    let colour = std::io::stderr().is_terminal();
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour).with_writer(std::io::stderr);
    let _second_call = if settings.format == "json" { lines.json().try_init() } else { lines.try_init() };
}
