//! RPC commands: `siplens.status`, `siplens.stats`, `siplens.collectors`, `siplens.reset`, `siplens.enable`,
//! `siplens.disable` and `siplens.trace_filter`.

mod answer;
mod trace_filter;

use std::ffi::{CStr, c_char, c_void};

use boundary::{HostCell, fence};
use capture::{CollectorStats, Config, Shared, Stats};
use kamailio_sys::{rpc_export_t, rpc_t};

use crate::log::{Level, log};
use crate::{hooks, process};

use answer::{Answer, Code, Struct};

/// The table for the loader, ended by an empty entry.
pub static TABLE: HostCell<[rpc_export_t; 8]> = HostCell::new([
    method(c"siplens.status", status, &STATUS_HELP),
    method(c"siplens.stats", stats, &STATS_HELP),
    method(c"siplens.collectors", collectors, &COLLECTORS_HELP),
    method(c"siplens.reset", reset, &RESET_HELP),
    method(c"siplens.enable", enable, &ENABLE_HELP),
    method(c"siplens.disable", disable, &DISABLE_HELP),
    method(c"siplens.trace_filter", trace_filter, &TRACE_FILTER_HELP),
    rpc_export_t { name: std::ptr::null(), function: None, doc_str: std::ptr::null_mut(), flags: 0 },
]);

type Help = HostCell<[*const c_char; 2]>;
static STATUS_HELP: Help = help(c"Whether capture is on, what it does, and whether the sender lives.");
static STATS_HELP: Help =
    help(c"Counters of captured SIP messages: offered = filtered + dropped + sent + in_queue.");
static COLLECTORS_HELP: Help = help(c"What became of each collector's messages, and the last error.");
static RESET_HELP: Help = help(c"Let all counters begin anew; answers what they were.");
static ENABLE_HELP: Help = help(c"Capture messages, in every process from its next message on.");
static DISABLE_HELP: Help = help(c"Capture nothing, in every process from its next message on.");
static TRACE_FILTER_HELP: Help = help(
    c"add caller=|callee=|ip=|call_id= [method=] [id=] [collector=] [duration=600]; list; remove NUMBER; clear: \
      capture calls for a while.",
);

const fn help(text: &'static CStr) -> Help {
    HostCell::new([text.as_ptr(), std::ptr::null()])
}

const fn method(
    name: &'static CStr,
    function: unsafe extern "C" fn(*mut rpc_t, *mut c_void),
    help: &'static Help,
) -> rpc_export_t {
    rpc_export_t { name: name.as_ptr(), function: Some(function), doc_str: help.pointer().cast(), flags: 0 }
}

/// Runs a command, if the module runs.
fn run(rpc: *mut rpc_t, context: *mut c_void, command: impl FnOnce(&Answer<'_>, Shared, &Config)) {
    fence((), || {
        let Some(answer) = Answer::new(rpc, context) else { return };
        match (process::shared(), process::config()) {
            (Some(shared), Some(config)) => command(&answer, shared, config),
            _ => answer.fault(Code::Unavailable, "the module is not running yet"),
        }
    });
}

unsafe extern "C" fn enable(rpc: *mut rpc_t, context: *mut c_void) {
    run(rpc, context, |answer, shared, _| switch(answer, shared, true));
}

unsafe extern "C" fn disable(rpc: *mut rpc_t, context: *mut c_void) {
    run(rpc, context, |answer, shared, _| switch(answer, shared, false));
}

fn switch(answer: &Answer<'_>, shared: Shared, on: bool) {
    shared.set_enabled(on);
    log(Level::Notice, if on { "capture switched on" } else { "capture switched off" });
    if let Some(root) = answer.root() {
        answer.number(root, c"enabled", u64::from(on));
    }
}

unsafe extern "C" fn status(rpc: *mut rpc_t, context: *mut c_void) {
    run(rpc, context, |answer, shared, config| {
        let Some(root) = answer.root() else { return };
        let status = shared.status();
        let mode = match (config.automatic, config.scripted) {
            (true, true) => "everything and what the script names",
            (true, false) => "everything",
            (false, _) => "what the script names",
        };
        answer.number(root, c"enabled", u64::from(status.enabled));
        answer.text(root, c"captures", mode);
        answer.number(root, c"events", u64::from(hooks::are_registered()));
        answer.number(root, c"sender_alive", u64::from(status.sender_alive()));
        if let Some(silence) = status.sender_silence {
            answer.number(root, c"sender_silence_s", silence);
        }
        for (name, value) in [
            (c"sessions", status.sessions),
            (c"session_room", status.session_room),
            (c"trace_filters", status.filters),
            (c"trace_filter_room", status.filter_room),
            (c"processes", status.processes),
            (c"processes_capturing", status.capturing),
        ] {
            answer.number(root, name, value as u64);
        }
        answer.number(root, c"uptime_s", status.uptime);
        answer.number(root, c"counting_s", status.counting);
    });
}

unsafe extern "C" fn stats(rpc: *mut rpc_t, context: *mut c_void) {
    run(rpc, context, |answer, shared, _| write(answer, &shared.stats()));
}

unsafe extern "C" fn reset(rpc: *mut rpc_t, context: *mut c_void) {
    run(rpc, context, |answer, shared, _| match shared.reset() {
        Ok(stats) => {
            log(Level::Notice, "counters reset");
            write(answer, &stats);
        }
        Err(capture::Busy) => answer.fault(Code::Unavailable, "another reset is under way; try again"),
    });
}

unsafe extern "C" fn collectors(rpc: *mut rpc_t, context: *mut c_void) {
    run(rpc, context, |answer, shared, _| {
        if let Some(root) = answer.root() {
            write_collectors(answer, root, &shared.stats());
        }
    });
}

unsafe extern "C" fn trace_filter(rpc: *mut rpc_t, context: *mut c_void) {
    run(rpc, context, trace_filter::run);
}

fn write(answer: &Answer<'_>, stats: &Stats) {
    let Some(root) = answer.root() else { return };
    let dropped = &stats.dropped;
    for (name, value) in [
        (c"enabled", u64::from(stats.enabled)),
        (c"offered", stats.offered),
        (c"filtered", stats.filtered),
        (c"sent", stats.sent),
        (c"acknowledged", stats.acknowledged),
        (c"in_queue", stats.in_queue),
        (c"unacknowledged", stats.waiting),
        (c"sent_again", stats.sent_again),
        (c"dropped", dropped.total()),
        (c"dropped_ring_full", dropped.ring_full),
        (c"dropped_backlog_full", dropped.backlog_full),
        (c"dropped_send_failed", dropped.send_failed),
        (c"dropped_sender_lost", dropped.sender_lost),
        (c"dropped_refused", dropped.refused),
        (c"dropped_panicked", dropped.panicked),
        (c"truncated", stats.truncated),
        (c"masked", stats.masked),
        (c"table_full", stats.table_full),
        (c"not_followed", stats.not_followed),
        (c"port_unknown", stats.port_unknown),
        (c"sent_bytes", stats.sent_bytes),
        (c"queue_damages", stats.queue_damages),
        (c"sender_pid", stats.sender_pid),
        (c"sender_starts", stats.sender_starts),
    ] {
        answer.number(root, name, value);
    }
    write_collectors(answer, root, stats);
}

fn write_collectors(answer: &Answer<'_>, root: Struct, stats: &Stats) {
    let Some(list) = answer.list(root, c"collectors") else { return };
    for collector in &stats.collectors {
        if let Some(entry) = answer.entry(list) {
            write_collector(answer, entry, collector);
        }
    }
}

fn write_collector(answer: &Answer<'_>, entry: Struct, collector: &CollectorStats) {
    let member = usize::try_from(collector.active).ok().and_then(|at| collector.uri.split(',').nth(at));
    answer.text(entry, c"uri", &collector.uri);
    answer.text(entry, c"link", collector.link.name());
    answer.text(entry, c"active_uri", member.unwrap_or_default().trim());
    for (name, value) in [
        (c"active", collector.active),
        (c"mirror", u64::from(collector.mirror)),
        (c"sent", collector.sent),
        (c"acknowledged", collector.acknowledged),
        (c"sent_again", collector.sent_again),
        (c"sent_bytes", collector.sent_bytes),
        (c"backlog", collector.backlog),
        (c"unacknowledged", collector.waiting),
        (c"dropped_backlog_full", collector.backlog_full),
        (c"dropped_send_failed", collector.send_failed),
        (c"dropped_sender_lost", collector.sender_lost),
        (c"connects", collector.connects),
        (c"refusals", collector.refusals),
    ] {
        answer.number(entry, name, value);
    }
    if let Some((error, age)) = &collector.last_error {
        answer.text(entry, c"last_error", error);
        answer.number(entry, c"last_error_s", *age);
    }
}
