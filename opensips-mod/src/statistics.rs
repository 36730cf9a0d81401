//! The module's statistics, `get_statistics siplens:`; the same counters as `siplens:stats`.

use std::ffi::{CStr, c_ulong, c_void};
use std::ptr::null;

use boundary::{HostCell, fence};
use capture::Stats;
use opensips_sys::{STAT_IS_FUNC, STAT_NO_RESET, stat_export_t};

use crate::process;

/// A counter's name, and where it is.
pub type Counter = (&'static CStr, fn(&Stats) -> u64);

/// Every counter.
pub const COUNTERS: [Counter; 22] = [
    (c"offered", |stats| stats.offered),
    (c"filtered", |stats| stats.filtered),
    (c"sent", |stats| stats.sent),
    (c"acknowledged", |stats| stats.acknowledged),
    (c"in_queue", |stats| stats.in_queue),
    (c"unacknowledged", |stats| stats.waiting),
    (c"sent_again", |stats| stats.sent_again),
    (c"dropped", |stats| stats.dropped.total()),
    (c"dropped_ring_full", |stats| stats.dropped.ring_full),
    (c"dropped_backlog_full", |stats| stats.dropped.backlog_full),
    (c"dropped_send_failed", |stats| stats.dropped.send_failed),
    (c"dropped_sender_lost", |stats| stats.dropped.sender_lost),
    (c"dropped_refused", |stats| stats.dropped.refused),
    (c"dropped_panicked", |stats| stats.dropped.panicked),
    (c"truncated", |stats| stats.truncated),
    (c"masked", |stats| stats.masked),
    (c"table_full", |stats| stats.table_full),
    (c"not_followed", |stats| stats.not_followed),
    (c"sent_bytes", |stats| stats.sent_bytes),
    (c"queue_damages", |stats| stats.queue_damages),
    (c"sender_pid", |stats| stats.sender_pid),
    (c"sender_starts", |stats| stats.sender_starts),
];

/// The table for the loader, ended by an empty entry.
pub static TABLE: HostCell<[stat_export_t; 23]> = HostCell::new([
    counter::<0>(),
    counter::<1>(),
    counter::<2>(),
    counter::<3>(),
    counter::<4>(),
    counter::<5>(),
    counter::<6>(),
    counter::<7>(),
    counter::<8>(),
    counter::<9>(),
    counter::<10>(),
    counter::<11>(),
    counter::<12>(),
    counter::<13>(),
    counter::<14>(),
    counter::<15>(),
    counter::<16>(),
    counter::<17>(),
    counter::<18>(),
    counter::<19>(),
    counter::<20>(),
    counter::<21>(),
    stat_export_t { name: null(), flags: 0, stat_pointer: None },
]);

const fn counter<const INDEX: usize>() -> stat_export_t {
    stat_export_t {
        name: COUNTERS[INDEX].0.as_ptr(),
        flags: STAT_IS_FUNC | STAT_NO_RESET,
        stat_pointer: Some(read::<INDEX>),
    }
}

unsafe extern "C" fn read<const INDEX: usize>(_: *mut c_void) -> c_ulong {
    fence(0, || process::shared().map_or(0, |shared| (COUNTERS[INDEX].1)(&shared.stats())))
}
