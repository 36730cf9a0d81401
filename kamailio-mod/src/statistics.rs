//! The counters as statistics of the core: `kamcmd stats.get_statistics siplens:`. Nothing is counted twice: they are
//! summed up when somebody asks.

use std::ffi::{CStr, c_int, c_long, c_void};

use boundary::fence;
use capture::Stats;
use kamailio_sys::{CNT_F_NO_RESET, counter_handle_t};

use crate::process;

type Read = fn(&Stats) -> u64;

/// Name, how to read it, and what the host's help says.
const STATISTICS: [(&CStr, Read, &CStr); 20] = [
    (c"acknowledged", |stats| stats.acknowledged, c"Messages that collectors acknowledged."),
    (c"captured", captured, c"Messages put into a queue for the sender."),
    (c"dropped", |stats| stats.dropped.total(), c"Messages lost, all causes together."),
    (c"dropped_backlog_full", |stats| stats.dropped.backlog_full, c"Lost: a collector took too little."),
    (c"dropped_panicked", |stats| stats.dropped.panicked, c"Lost: a defect of the module."),
    (c"dropped_refused", |stats| stats.dropped.refused, c"Lost: the call could not be followed."),
    (c"dropped_ring_full", |stats| stats.dropped.ring_full, c"Lost: the sender took too little."),
    (c"dropped_send_failed", |stats| stats.dropped.send_failed, c"Lost: the network refused them."),
    (c"dropped_sender_lost", |stats| stats.dropped.sender_lost, c"Lost: a sender took them, and ended."),
    (c"filtered", |stats| stats.filtered, c"Messages that were not wanted."),
    (c"in_queue", |stats| stats.in_queue, c"Messages on their way."),
    (c"masked", |stats| stats.masked, c"Messages of which a part was masked."),
    (c"not_followed", |stats| stats.not_followed, c"Messages whose session cannot be known."),
    (c"offered", |stats| stats.offered, c"Messages that were shown to the module."),
    (
        c"port_unknown",
        |stats| stats.port_unknown,
        c"Messages with the listening socket's port in place of their own.",
    ),
    (c"sent", |stats| stats.sent, c"Messages acknowledged, or given to the network."),
    (c"sent_again", |stats| stats.sent_again, c"Times that a message was sent again."),
    (c"table_full", |stats| stats.table_full, c"Messages whose session found no place."),
    (c"truncated", |stats| stats.truncated, c"Messages sent with their end cut off."),
    (c"unacknowledged", |stats| stats.waiting, c"Messages sent and not yet acknowledged."),
];

/// What has been sent, has been lost after it was taken, or is on its way.
fn captured(stats: &Stats) -> u64 {
    let dropped = &stats.dropped;
    stats.sent + stats.in_queue + dropped.backlog_full + dropped.send_failed + dropped.sender_lost
}

/// Makes them known to the host; in `mod_init`.
pub fn register() -> Result<(), String> {
    for (index, (name, _, help)) in STATISTICS.iter().enumerate() {
        let mut handle = counter_handle_t { id: 0 };
        // SAFETY: mod_init is where the host allows it; it keeps pointers to texts that are never freed. The
        // parameter is a number, not an address.
        let status = unsafe {
            kamailio_sys::counter_register(
                &raw mut handle,
                c"siplens".as_ptr(),
                name.as_ptr(),
                CNT_F_NO_RESET as c_int,
                Some(read),
                std::ptr::without_provenance_mut(index),
                help.as_ptr(),
                0,
            )
        };
        if status < 0 {
            return Err(format!("statistic {}: the core does not take it", name.to_string_lossy()));
        }
    }
    Ok(())
}

unsafe extern "C" fn read(_: counter_handle_t, parameter: *mut c_void) -> c_long {
    fence(0, || {
        let stats = process::shared().map(|shared| shared.stats()).unwrap_or_default();
        let value = STATISTICS.get(parameter.addr()).map(|(_, read, _)| read(&stats));
        value.and_then(|value| c_long::try_from(value).ok()).unwrap_or(c_long::MAX)
    })
}
