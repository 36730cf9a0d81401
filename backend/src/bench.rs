//! `siplens bench`: what this machine can take, measured with realistic calls over the real wire.

mod child;
mod client;
mod cost;
mod forms;
mod load;
mod lookups;
mod report;
mod run;
mod samples;
mod traffic;
mod visible;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};

pub use load::Packets;
use load::{Load, Wire};
use report::{each_us, figure, fraction};

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Send calls, registrations and pings to a backend that runs, over the real wire. They stay there.
    Ingest {
        /// Where the backend takes HEP.
        #[arg(long, value_name = "ADDRESS:PORT")]
        target: SocketAddr,
        /// Send also to another machine than this one, and fill its store.
        #[arg(long)]
        yes_remote: bool,
        /// How it is sent.
        #[arg(long, value_enum, default_value = "tcp")]
        transport: Wire,
        /// What is sent.
        #[command(flatten)]
        traffic: TrafficArgs,
    },
    /// Start a backend in a folder of its own, load it, wait until all is stored, ask it, and print what that took.
    Run(RunArgs),
}

/// What traffic.
#[derive(Args, Clone, Debug)]
pub struct TrafficArgs {
    /// How many messages.
    #[arg(long, default_value = "1000000", value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,
    /// Messages a second, or max: as fast as they are taken.
    #[arg(long, default_value = "max", value_parser = rate)]
    rate: Rate,
    /// Messages a second by their times of capture, which then differ from the real ones: 5,000,000 messages at 1,000 are
    /// 83 minutes of traffic, however fast they are sent. Without it, the rate; with max, 100,000.
    #[arg(long, value_name = "RATE", value_parser = clap::value_parser!(u32).range(1..))]
    simulated_rate: Option<u32>,
    /// The same seed gives the same calls, other seeds others.
    #[arg(long, default_value = "1")]
    seed: u64,
    /// Calls of a large session. One begins with every 200,000 messages, or 14 times its calls if that is more.
    #[arg(long, default_value = "1000", value_name = "CALLS", value_parser = clap::value_parser!(u32).range(1..))]
    session_calls: u32,
}

/// How to run a backend.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    traffic: TrafficArgs,
    /// How the load is sent.
    #[arg(long, value_enum, default_value = "tcp")]
    transport: Wire,
    /// sqlite, or the URL of an empty PostgreSQL database, which is filled and left so.
    #[arg(long, default_value = "sqlite", value_name = "sqlite|URL")]
    store: String,
    /// Process of the database's server: its processor time, and that of its children, is told too.
    #[arg(long, value_name = "PID")]
    database_pid: Option<u32>,
    /// Folder on the disk that is to be measured; the backend's own one is made in it, and goes at the end.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Configuration file of the backend; its listeners, data folder and database do not count.
    #[arg(long, value_name = "FILE")]
    backend_config: Option<PathBuf>,
    /// At how many messages a second the time from arrival until a search finds a message is measured; 0 for not at all.
    #[arg(long, default_value = "10000", value_name = "RATE")]
    visible_rate: u32,
    /// For so many seconds.
    #[arg(long, default_value = "10", value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    visible_seconds: u32,
    /// Do not time lookups.
    #[arg(long)]
    no_lookups: bool,
}

/// A rate as it is given.
#[derive(Clone, Copy, Debug)]
struct Rate(Option<u32>);

fn rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate(None));
    }
    let number = text.parse().ok().filter(|rate| *rate > 0);
    number.map(|rate| Rate(Some(rate))).ok_or_else(|| "expected a number of at least 1, or max".to_owned())
}

impl TrafficArgs {
    fn load(&self, target: SocketAddr, wire: Wire) -> Load {
        let Self { messages, rate, simulated_rate, seed, session_calls } = *self;
        Load { target, wire, messages, rate: rate.0, simulated_rate, seed, session_calls }
    }
}

impl Bench {
    /// Measures and prints.
    ///
    /// # Errors
    /// When a backend cannot be reached or started, or lost or hides what it took.
    pub fn run(self) -> Result<()> {
        match self {
            Self::Run(arguments) => run::run(&arguments),
            Self::Ingest { target, yes_remote, transport, traffic } => {
                ensure!(
                    yes_remote || target.ip().is_loopback(),
                    "{target} is not this machine: its store would be filled with made-up calls; say --yes-remote if that is \
                     what you want"
                );
                sent(&traffic.load(target, transport).send()?)
            }
        }
    }
}

/// Prints what was sent.
fn sent(sent: &load::Sent) -> Result<()> {
    let count = sent.messages;
    figure("messages sent", count, "")?;
    fraction("octets of SIP", sent.sip_bytes as f64 / count as f64, "a message")?;
    fraction("octets of HEP", sent.hep_bytes as f64 / count as f64, "a message")?;
    figure("rate of sending", format!("{:.0}", count as f64 / sent.elapsed.as_secs_f64()), "messages/s")?;
    fraction("processor time of making and sending", each_us(sent.cpu, count), "µs a message")
}
