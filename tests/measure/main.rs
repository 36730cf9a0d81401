#![forbid(unsafe_code)]
//! Figures that need many calls: `measure soak` and `measure latency`; docs/performance.md says what they came to.
//!
//! ```text
//! measure soak [CALLS] [PER_SECOND]                  memory and counters over so many calls (default 77000 at 200)
//! measure latency [ROUNDS] [CALLS] [PER_SECOND]      response times with a healthy, stuck, … collector (5, 2000, 200)
//! ```

mod counting;
mod latency;
mod memory;
mod soak;
mod wire;

use anyhow::{Context, Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: u32| match arguments.get(index) {
        None => Ok(default),
        Some(text) => text.parse().with_context(|| format!("expected a number, found {text}")),
    };
    match arguments.first().map(String::as_str) {
        Some("soak") => soak::run(number(1, 77_000)?, number(2, 200)?),
        Some("latency") => latency::run(number(1, 5)?, number(2, 2000)?, number(3, 200)?),
        _ => {
            bail!("usage: measure soak [CALLS] [PER_SECOND] | measure latency [ROUNDS] [CALLS] [PER_SECOND]")
        }
    }
}

/// Prints what this program is for: its results.
#[expect(clippy::print_stdout, reason = "the results go to standard output")]
fn say(text: impl std::fmt::Display) {
    println!("{text}");
}
