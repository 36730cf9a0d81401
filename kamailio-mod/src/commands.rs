//! The functions of a script in Kamailio's own language: `sip_trace`, `sip_trace_mode`, `sip_trace_msg` and `hlog`, and
//! the same as `siplens_…` for configurations that also load siptrace.

use std::ffi::{CStr, c_char, c_int};
use std::ptr::null_mut;

use boundary::HostCell;
use kamailio_sys::{ANY_ROUTE, cmd_export_t, cmd_function, sip_msg};

use crate::argument::{kept, value};
use crate::calls::{self, BadArgument, Text, TextKind, Trace};
use crate::event_route;
use crate::fixups::{self, Fixup};

type Argument = *mut c_char;
type Command3 = unsafe extern "C" fn(*mut sip_msg, Argument, Argument, Argument) -> c_int;
type Command5 = unsafe extern "C" fn(*mut sip_msg, Argument, Argument, Argument, Argument, Argument) -> c_int;

/// The table for the loader, ended by an empty entry.
pub static TABLE: HostCell<[cmd_export_t; 23]> = HostCell::new([
    command(c"sip_trace", Some(trace), 0, None),
    command(c"sip_trace", Some(trace_uri), 1, Some(fixups::trace)),
    command(c"sip_trace", Some(trace_uri_id), 2, Some(fixups::trace)),
    command(c"sip_trace", of_three(trace_uri_id_mode), 3, Some(fixups::trace)),
    command(c"sip_trace_mode", Some(trace_mode), 1, Some(fixups::trace_mode)),
    command(c"sip_trace_msg", Some(trace_msg), 1, Some(fixups::trace_msg)),
    command(c"sip_trace_msg", Some(trace_msg_uri), 2, Some(fixups::trace_msg)),
    command(c"sip_trace_msg", of_three(trace_msg_uri_id), 3, Some(fixups::trace_msg)),
    command(c"sip_trace_msg", of_five(trace_msg_ends_uri_id), 5, Some(fixups::trace_msg_ends)),
    command(c"hlog", Some(hlog), 1, Some(fixups::hlog)),
    command(c"hlog", Some(hlog_id), 2, Some(fixups::hlog)),
    command(c"siplens_trace", Some(trace), 0, None),
    command(c"siplens_trace", Some(trace_uri), 1, Some(fixups::trace)),
    command(c"siplens_trace", Some(trace_uri_id), 2, Some(fixups::trace)),
    command(c"siplens_trace", of_three(trace_uri_id_mode), 3, Some(fixups::trace)),
    command(c"siplens_trace_mode", Some(trace_mode), 1, Some(fixups::trace_mode)),
    command(c"siplens_trace_msg", Some(trace_msg), 1, Some(fixups::trace_msg)),
    command(c"siplens_trace_msg", Some(trace_msg_uri), 2, Some(fixups::trace_msg)),
    command(c"siplens_trace_msg", of_three(trace_msg_uri_id), 3, Some(fixups::trace_msg)),
    command(c"siplens_trace_msg", of_five(trace_msg_ends_uri_id), 5, Some(fixups::trace_msg_ends)),
    command(c"siplens_hlog", Some(hlog), 1, Some(fixups::hlog)),
    command(c"siplens_hlog", Some(hlog_id), 2, Some(fixups::hlog)),
    cmd_export_t { name: null_mut(), function: None, param_no: 0, fixup: None, free_fixup: None, flags: 0 },
]);

const fn command(
    name: &'static CStr,
    function: cmd_function,
    parameters: c_int,
    fixup: Option<Fixup>,
) -> cmd_export_t {
    cmd_export_t {
        name: name.as_ptr().cast_mut(),
        function,
        param_no: parameters,
        fixup,
        free_fixup: if parameters == 0 { None } else { Some(fixups::free) },
        flags: ANY_ROUTE,
    }
}

/// The table has one type for all functions; the host calls each with as many arguments as `param_no` says.
const fn of_three(function: Command3) -> cmd_function {
    // SAFETY: both are pointers to C functions; the host casts back by `param_no` before it calls.
    Some(unsafe { std::mem::transmute::<Command3, fixups::Command>(function) })
}

/// As [`of_three`].
const fn of_five(function: Command5) -> cmd_function {
    // SAFETY: both are pointers to C functions; the host casts back by `param_no` before it calls.
    Some(unsafe { std::mem::transmute::<Command5, fixups::Command>(function) })
}

unsafe extern "C" fn trace(msg: *mut sip_msg, _: Argument, _: Argument) -> c_int {
    run_trace(msg, null_mut(), null_mut(), null_mut())
}

unsafe extern "C" fn trace_uri(msg: *mut sip_msg, uri: Argument, _: Argument) -> c_int {
    run_trace(msg, uri, null_mut(), null_mut())
}

unsafe extern "C" fn trace_uri_id(msg: *mut sip_msg, uri: Argument, id: Argument) -> c_int {
    run_trace(msg, uri, id, null_mut())
}

unsafe extern "C" fn trace_uri_id_mode(
    msg: *mut sip_msg,
    uri: Argument,
    id: Argument,
    mode: Argument,
) -> c_int {
    run_trace(msg, uri, id, mode)
}

unsafe extern "C" fn trace_mode(msg: *mut sip_msg, mode: Argument, _: Argument) -> c_int {
    run_trace(msg, null_mut(), null_mut(), mode)
}

unsafe extern "C" fn trace_msg(msg: *mut sip_msg, text: Argument, _: Argument) -> c_int {
    run_text(msg, TextKind::Message, text, [null_mut(); 2], null_mut(), null_mut())
}

unsafe extern "C" fn trace_msg_uri(msg: *mut sip_msg, text: Argument, uri: Argument) -> c_int {
    run_text(msg, TextKind::Message, text, [null_mut(); 2], uri, null_mut())
}

unsafe extern "C" fn trace_msg_uri_id(
    msg: *mut sip_msg,
    text: Argument,
    uri: Argument,
    id: Argument,
) -> c_int {
    run_text(msg, TextKind::Message, text, [null_mut(); 2], uri, id)
}

unsafe extern "C" fn trace_msg_ends_uri_id(
    msg: *mut sip_msg,
    text: Argument,
    source: Argument,
    destination: Argument,
    uri: Argument,
    id: Argument,
) -> c_int {
    run_text(msg, TextKind::Message, text, [source, destination], uri, id)
}

unsafe extern "C" fn hlog(msg: *mut sip_msg, text: Argument, _: Argument) -> c_int {
    run_text(msg, TextKind::Log, text, [null_mut(); 2], null_mut(), null_mut())
}

unsafe extern "C" fn hlog_id(msg: *mut sip_msg, id: Argument, text: Argument) -> c_int {
    run_text(msg, TextKind::Log, text, [null_mut(); 2], null_mut(), id)
}

/// One call, whatever its number of arguments; those not given are null.
fn run_trace(msg: *mut sip_msg, uri: Argument, id: Argument, mode: Argument) -> c_int {
    calls::trace(msg, |room| {
        // SAFETY: the host's message, and an argument that a fixup made; done with before the next is evaluated.
        let mode = unsafe { value(msg, mode) };
        let scope = calls::scope(mode.unwrap_or_default())?;
        // SAFETY: as above; what the host may overwrite is copied.
        let collector = unsafe { kept(msg, uri, &mut room.collector) };
        // SAFETY: as above; what is evaluated after it is a template, only if it has no value, or what
        // event_route[siplens:msg] says, for which it is copied.
        let mut correlation = unsafe { value(msg, id) };
        if event_route::exists() {
            correlation = copied(correlation, &mut room.correlation);
        }
        Ok(Trace { scope, collector, correlation })
    })
}

/// The value at a place where nothing that the host evaluates can reach it.
#[cold]
fn copied<'v>(value: Option<&[u8]>, copy: &'v mut Vec<u8>) -> Option<&'v [u8]> {
    copy.clear();
    copy.extend_from_slice(value?);
    Some(copy)
}

fn run_text(
    msg: *mut sip_msg,
    kind: TextKind,
    text: Argument,
    ends: [Argument; 2],
    uri: Argument,
    id: Argument,
) -> c_int {
    calls::text(msg, kind, |room| {
        let ends = if ends.contains(&null_mut()) {
            None
        } else {
            let [source, destination] = ends.map(|end| {
                // SAFETY: the host's message, and an argument that a fixup made; done with before the next.
                let end = unsafe { value(msg, end) };
                capture::Endpoint::parse(end.unwrap_or_default())
            });
            Some((source.map_err(|_| BadArgument::END)?, destination.map_err(|_| BadArgument::END)?))
        };
        // SAFETY: as above; what the host may overwrite is copied.
        let collector = unsafe { kept(msg, uri, &mut room.collector) };
        // SAFETY: as above.
        let correlation = unsafe { kept(msg, id, &mut room.correlation) };
        // SAFETY: as above.
        let text = unsafe { kept(msg, text, &mut room.text) }.unwrap_or_default();
        Ok(Text { text, collector, correlation, ends })
    })
}
