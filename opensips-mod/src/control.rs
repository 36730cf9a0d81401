//! MI commands: `siplens:status`, `siplens:stats`, `siplens:collectors`, `siplens:reset`, `siplens:enable`,
//! `siplens:disable` and `siplens:trace_filter`.

mod answer;
mod trace_filter;

use std::ffi::{CStr, c_void};
use std::ptr::{null, null_mut};

use boundary::{HostCell, fence};
use capture::{Config, Shared, Stats};
use opensips_sys::{MI_RECIPES, MiFn, ROW, mi_export_t, mi_params_t, mi_recipe_t};

use crate::log::{Level, log};
use crate::process;
use crate::statistics::COUNTERS;

use answer::{Code, Item, Response, fault, object};

/// The table for the loader, ended by an empty entry.
pub static TABLE: HostCell<[mi_export_t; 8]> = HostCell::new([
    command(
        c"siplens:status",
        c"status",
        c"Whether capture is on, what it does, and whether the sender lives.",
        &[(status, &[])],
    ),
    command(
        c"siplens:stats",
        c"stats",
        c"Counters of captured SIP messages: offered = filtered + dropped + sent + in_queue.",
        &[(stats, &[])],
    ),
    command(
        c"siplens:collectors",
        c"collectors",
        c"What became of each collector's messages, and the last error.",
        &[(collectors, &[])],
    ),
    command(
        c"siplens:reset",
        c"reset",
        c"Let all counters begin anew; answers what they were.",
        &[(reset, &[])],
    ),
    command(
        c"siplens:enable",
        c"enable",
        c"Capture messages, in every process from its next message on.",
        &[(enable, &[])],
    ),
    command(
        c"siplens:disable",
        c"disable",
        c"Capture nothing, in every process from its next message on.",
        &[(disable, &[])],
    ),
    command(
        c"siplens:trace_filter",
        c"trace_filter",
        c"add \"caller=|callee=|ip=|call_id= [method=] [id=] [collector=] [duration=600]\"; list; remove NUMBER; clear: \
          capture calls for a while.",
        &[(trace_filter, &[c"action"]), (trace_filter, &[c"action", c"filter"])],
    ),
    mi_export_t {
        name: null(),
        help: null(),
        flags: 0,
        init_f: None,
        recipes: [NO_RECIPE; MI_RECIPES],
        aliases: [null(); ROW.mi_aliases],
    },
]);

const NO_RECIPE: mi_recipe_t = mi_recipe_t { cmd: None, params: [null(); ROW.mi_params] };

/// A command, with each set of parameters that it takes. Where the core puts the module's name in front of a command's,
/// the short name is given.
const fn command(
    full: &'static CStr,
    short: &'static CStr,
    help: &'static CStr,
    ways: &[(MiFn, &[&'static CStr])],
) -> mi_export_t {
    let mut recipes = [NO_RECIPE; MI_RECIPES];
    let mut way = 0;
    while way < ways.len() {
        let (function, names) = ways[way];
        recipes[way].cmd = Some(function);
        let mut name = 0;
        while name < names.len() {
            recipes[way].params[name] = names[name].as_ptr();
            name += 1;
        }
        way += 1;
    }
    let name = if ROW.mi_namespace { short } else { full };
    mi_export_t {
        name: name.as_ptr(),
        help: help.as_ptr(),
        flags: 0,
        init_f: None,
        recipes,
        aliases: [null(); ROW.mi_aliases],
    }
}

/// Runs a command, if the module runs.
fn run(command: impl FnOnce(Shared, &Config) -> Response) -> Response {
    fence(null_mut(), || match (process::shared(), process::config()) {
        (Some(shared), Some(config)) => command(shared, config),
        _ => fault(Code::Unavailable, "the module captures nothing; the log says why, at start"),
    })
}

unsafe extern "C" fn enable(_: *const mi_params_t, _: *mut c_void) -> Response {
    run(|shared, _| switch(shared, true))
}

unsafe extern "C" fn disable(_: *const mi_params_t, _: *mut c_void) -> Response {
    run(|shared, _| switch(shared, false))
}

fn switch(shared: Shared, on: bool) -> Response {
    shared.set_enabled(on);
    log(Level::Notice, if on { "capture switched on" } else { "capture switched off" });
    object(|root| root.number(c"enabled", u64::from(on)))
}

unsafe extern "C" fn status(_: *const mi_params_t, _: *mut c_void) -> Response {
    run(|shared, config| {
        let status = shared.status();
        let mode = match (config.automatic, config.scripted) {
            (true, true) => "everything and what the script names",
            (true, false) => "everything",
            (false, _) => "what the script names",
        };
        object(|root| {
            root.number(c"enabled", u64::from(status.enabled));
            root.text(c"captures", mode);
            root.text(c"built_for", &opensips_sys::FULL_VERSION.to_string_lossy());
            root.number(c"sender_alive", u64::from(status.sender_alive()));
            if let Some(silence) = status.sender_silence {
                root.number(c"sender_silence_s", silence);
            }
            for (name, value) in [
                (c"sessions", status.sessions),
                (c"session_room", status.session_room),
                (c"trace_filters", status.filters),
                (c"trace_filter_room", status.filter_room),
                (c"processes", status.processes),
                (c"processes_capturing", status.capturing),
            ] {
                root.number(name, value as u64);
            }
            root.number(c"uptime_s", status.uptime);
            root.number(c"counting_s", status.counting);
        })
    })
}

unsafe extern "C" fn stats(_: *const mi_params_t, _: *mut c_void) -> Response {
    run(|shared, _| write(&shared.stats()))
}

unsafe extern "C" fn reset(_: *const mi_params_t, _: *mut c_void) -> Response {
    run(|shared, _| match shared.reset() {
        Ok(stats) => {
            log(Level::Notice, "counters reset");
            write(&stats)
        }
        Err(capture::Busy) => fault(Code::Unavailable, "another reset is under way; try again"),
    })
}

unsafe extern "C" fn collectors(_: *const mi_params_t, _: *mut c_void) -> Response {
    run(|shared, _| object(|root| write_collectors(root, &shared.stats())))
}

unsafe extern "C" fn trace_filter(params: *const mi_params_t, _: *mut c_void) -> Response {
    run(|shared, config| {
        let action = answer::parameter(params, c"action").unwrap_or_default();
        trace_filter::run(shared, config, action, answer::parameter(params, c"filter"))
    })
}

fn write(stats: &Stats) -> Response {
    object(|root| {
        root.number(c"enabled", u64::from(stats.enabled));
        for (name, value) in &COUNTERS {
            root.number(name, value(stats));
        }
        write_collectors(root, stats);
    })
}

fn write_collectors(root: &Item, stats: &Stats) {
    let Some(list) = root.list(c"collectors") else { return };
    for collector in &stats.collectors {
        let Some(entry) = list.entry() else { return };
        let member = usize::try_from(collector.active).ok().and_then(|at| collector.uri.split(',').nth(at));
        entry.text(c"uri", &collector.uri);
        entry.text(c"link", collector.link.name());
        entry.text(c"active_uri", member.unwrap_or_default().trim());
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
            entry.number(name, value);
        }
        if let Some((error, age)) = &collector.last_error {
            entry.text(c"last_error", error);
            entry.number(c"last_error_s", *age);
        }
    }
}
