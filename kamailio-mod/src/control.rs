//! RPC commands: `siplens.stats`, `siplens.enable`, `siplens.disable`.

use std::ffi::{CStr, CString, c_char, c_int, c_ulonglong, c_void};

use boundary::{HostCell, fence};
use capture::{CollectorStats, Stats};
use kamailio_sys::{rpc_export_t, rpc_t};

use crate::log::{Level, log};
use crate::process;

/// The table for the loader, ended by an empty entry.
pub static TABLE: HostCell<[rpc_export_t; 4]> = HostCell::new([
    method(c"siplens.stats", stats, &STATS_HELP),
    method(c"siplens.enable", enable, &ENABLE_HELP),
    method(c"siplens.disable", disable, &DISABLE_HELP),
    rpc_export_t { name: std::ptr::null(), function: None, doc_str: std::ptr::null_mut(), flags: 0 },
]);

type Help = HostCell<[*const c_char; 2]>;
static STATS_HELP: Help =
    help(c"Counters of captured SIP messages: offered = filtered + dropped + sent + in_queue.");
static ENABLE_HELP: Help = help(c"Capture messages, in every process from its next message on.");
static DISABLE_HELP: Help = help(c"Capture nothing, in every process from its next message on.");

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

unsafe extern "C" fn enable(rpc: *mut rpc_t, context: *mut c_void) {
    fence((), || switch(rpc, context, true));
}

unsafe extern "C" fn disable(rpc: *mut rpc_t, context: *mut c_void) {
    fence((), || switch(rpc, context, false));
}

fn switch(rpc: *mut rpc_t, context: *mut c_void, on: bool) {
    let Some(answer) = Answer::new(rpc, context) else { return };
    let Some(shared) = process::shared() else { return answer.fault(c"the module is not running yet") };
    shared.set_enabled(on);
    log(Level::Notice, if on { "capture switched on" } else { "capture switched off" });
    if let Some(root) = answer.root() {
        answer.number(root, c"enabled", u64::from(on));
    }
}

unsafe extern "C" fn stats(rpc: *mut rpc_t, context: *mut c_void) {
    fence((), || {
        let Some(answer) = Answer::new(rpc, context) else { return };
        match process::shared() {
            Some(shared) => write(&answer, &shared.stats()),
            None => answer.fault(c"the module is not running yet"),
        }
    });
}

fn write(answer: &Answer<'_>, stats: &Stats) {
    let Some(root) = answer.root() else { return };
    let dropped = &stats.dropped;
    for (name, value) in [
        (c"enabled", u64::from(stats.enabled)),
        (c"offered", stats.offered),
        (c"filtered", stats.filtered),
        (c"sent", stats.sent),
        (c"in_queue", stats.in_queue),
        (c"dropped", dropped.total()),
        (c"dropped_ring_full", dropped.ring_full),
        (c"dropped_backlog_full", dropped.backlog_full),
        (c"dropped_send_failed", dropped.send_failed),
        (c"dropped_refused", dropped.refused),
        (c"dropped_panicked", dropped.panicked),
        (c"truncated", stats.truncated),
        (c"table_full", stats.table_full),
        (c"not_followed", stats.not_followed),
        (c"sent_bytes", stats.sent_bytes),
        (c"queue_damages", stats.queue_damages),
    ] {
        answer.number(root, name, value);
    }
    let Some(list) = answer.list(root, c"collectors") else { return };
    for collector in &stats.collectors {
        if let Some(entry) = answer.entry(list) {
            write_collector(answer, entry, collector);
        }
    }
}

fn write_collector(answer: &Answer<'_>, entry: Struct, collector: &CollectorStats) {
    answer.text(entry, c"uri", &collector.uri);
    answer.text(entry, c"link", collector.link.name());
    for (name, value) in [
        (c"active", collector.active),
        (c"mirror", u64::from(collector.mirror)),
        (c"sent", collector.sent),
        (c"sent_bytes", collector.sent_bytes),
        (c"backlog", collector.backlog),
        (c"dropped_backlog_full", collector.backlog_full),
        (c"dropped_send_failed", collector.send_failed),
        (c"connects", collector.connects),
        (c"refusals", collector.refusals),
    ] {
        answer.number(entry, name, value);
    }
}

/// The host's handle of a structure in the answer.
#[derive(Clone, Copy)]
struct Struct(*mut c_void);
/// The host's handle of a list in the answer.
#[derive(Clone, Copy)]
struct List(*mut c_void);

/// An answer under way. The host's functions are variadic: the format says what follows.
struct Answer<'a> {
    rpc: &'a rpc_t,
    context: *mut c_void,
}

/// A code that the host's tools show with the text.
const SERVER_ERROR: c_int = 500;

impl<'a> Answer<'a> {
    fn new(rpc: *mut rpc_t, context: *mut c_void) -> Option<Self> {
        // SAFETY: the host passes its table of functions, valid until the command returns.
        let rpc = unsafe { rpc.as_ref() }?;
        Some(Self { rpc, context })
    }

    fn fault(&self, text: &CStr) {
        let Some(fault) = self.rpc.fault else { return };
        // SAFETY: the format takes one text; the host copies it.
        unsafe { fault(self.context, SERVER_ERROR, format(c"%s"), text.as_ptr()) };
    }

    fn root(&self) -> Option<Struct> {
        let add = self.rpc.add?;
        let mut handle: *mut c_void = std::ptr::null_mut();
        // SAFETY: "{" takes the address of a handle, which the host fills.
        let status = unsafe { add(self.context, format(c"{"), &raw mut handle) };
        (status >= 0 && !handle.is_null()).then_some(Struct(handle))
    }

    fn number(&self, to: Struct, name: &CStr, value: u64) {
        let Some(add) = self.rpc.struct_add else { return };
        // SAFETY: "J" takes a name and an unsigned long long; the host copies both.
        unsafe { add(to.0, format(c"J"), name.as_ptr(), c_ulonglong::from(value)) };
    }

    fn text(&self, to: Struct, name: &CStr, value: &str) {
        let Some(add) = self.rpc.struct_add else { return };
        let value = CString::new(value.replace('\0', " ")).unwrap_or_default();
        // SAFETY: "s" takes a name and a C string; the host copies both.
        unsafe { add(to.0, format(c"s"), name.as_ptr(), value.as_ptr()) };
    }

    fn list(&self, to: Struct, name: &CStr) -> Option<List> {
        let add = self.rpc.struct_add?;
        let mut handle: *mut c_void = std::ptr::null_mut();
        // SAFETY: "[" takes a name and the address of a handle, which the host fills.
        let status = unsafe { add(to.0, format(c"["), name.as_ptr(), &raw mut handle) };
        (status >= 0 && !handle.is_null()).then_some(List(handle))
    }

    fn entry(&self, of: List) -> Option<Struct> {
        let add = self.rpc.array_add?;
        let mut handle: *mut c_void = std::ptr::null_mut();
        // SAFETY: "{" takes the address of a handle, which the host fills.
        let status = unsafe { add(of.0, format(c"{"), &raw mut handle) };
        (status >= 0 && !handle.is_null()).then_some(Struct(handle))
    }
}

/// The host's prototypes lack `const`; it never writes to a format.
fn format(text: &'static CStr) -> *mut c_char {
    text.as_ptr().cast_mut()
}
