//! One budget of memory, and what the parts of the backend may take of it, so that resident memory stays below it however
//! much comes in, however many search, and however slow disk or store are. The program itself takes 32 MiB. The parts hold to what they can count; what that costs
//! in memory is more, and is what the shares are made of, in sixteenths of the rest:
//!
//! | share | of | counted as |
//! |---|---|---|
//! | 4 | what waits for the spool's disk | octets of records, which cost two and a half times as much |
//! | 5 | what is between spool and store | octets of HEP, which cost five times as much |
//! | 2 | streams of HEP | streams of 128 KiB at most |
//! | 4 | searches and their answers | searches of 8 MiB |
//! | 1 | idle readers of the embedded store | readers of 40 KiB |

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread::available_parallelism;

/// What glibc reads at the start of a program: how many arenas it takes memory from.
const ARENAS: &str = "MALLOC_ARENA_MAX";

/// Begins this program anew, in the same process, with an arena for each processor, two at least, unless the environment says how many. glibc would make eight
/// for each, and keep in each what its threads once needed: half as much again as is in use. Goes on as it is where that cannot be done.
pub fn begin_with_few_arenas() {
    if !cfg!(target_env = "gnu") || std::env::var_os(ARENAS).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let arenas = available_parallelism().map_or(2, |processors| processors.get().max(2));
    let mut command = Command::new(program);
    command.env(ARENAS, arenas.to_string());
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // It returns only where it failed; logging has not begun.
    let _error = command.args(arguments).exec();
}

/// Least budget, octets.
pub const LEAST_BYTES: u64 = 128 << 20;

/// What the program takes whatever it does, octets: its code, its threads, dictionaries, what is remembered of agents and of calls.
const PROGRAM_BYTES: u64 = 32 << 20;

/// What a stream holds at most, octets: a packet that is not whole yet, and what was read with it.
const STREAM_BYTES: u64 = 128 << 10;

/// What a search holds that asks for a full page, octets: slices of a step, messages, their JSON.
pub const SEARCH_BYTES: u64 = 8 << 20;

/// What a reader of the embedded store holds while nobody uses it, octets.
const READER_BYTES: u64 = 40 << 10;

/// The budget.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Budget {
    /// What there is besides the program, octets.
    shared_bytes: u64,
}

impl Budget {
    /// Of so many octets.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self { shared_bytes: bytes.saturating_sub(PROGRAM_BYTES) }
    }

    /// Octets of records that may wait for the spool's disk. They lie in buffers that grow by doubling, and a group that was written leaves some
    /// of its memory to a later one, so they cost two and a half times as much: four sixteenths.
    #[must_use]
    pub const fn spool_bytes(self) -> u64 {
        self.shared_bytes / 10
    }

    /// Octets of HEP that may be between spool and store: read, taken apart, cut into slices and compressed. They cost
    /// five times as much: five sixteenths.
    #[must_use]
    pub const fn flush_bytes(self) -> u64 {
        self.shared_bytes / 16
    }

    /// Streams of HEP at a time: two sixteenths.
    #[must_use]
    pub fn streams(self) -> usize {
        count(self.shared_bytes / 8, STREAM_BYTES)
    }

    /// Requests that search at a time: four sixteenths.
    #[must_use]
    pub fn searches(self) -> usize {
        count(self.shared_bytes / 16 * 4, SEARCH_BYTES)
    }

    /// Readers of the embedded store that are kept while nobody uses them, 1,024 at most: a sixteenth.
    #[must_use]
    pub fn readers(self) -> usize {
        count(self.shared_bytes / 16, READER_BYTES).min(1024)
    }
}

fn count(bytes: u64, each: u64) -> usize {
    usize::try_from(bytes / each).unwrap_or(usize::MAX)
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(512 << 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_no_more_than_the_whole() {
        for bytes in [LEAST_BYTES, 512 << 20, 64 << 30] {
            let budget = Budget::new(bytes);
            let counted = budget.spool_bytes() * 5 / 2
                + 5 * budget.flush_bytes()
                + budget.streams() as u64 * STREAM_BYTES
                + budget.searches() as u64 * SEARCH_BYTES
                + budget.readers() as u64 * READER_BYTES;
            assert!(PROGRAM_BYTES + counted <= bytes, "{counted} of {bytes}");
            assert!(budget.streams() >= 96 && budget.searches() >= 3 && budget.readers() >= 24);
        }
    }
}
