//! Script functions: `sip_trace()`, `sip_trace(uri)`, `sip_trace(uri, correlation_id)` and
//! `sip_trace(uri, correlation_id, mode)`; `siplens_trace` is the same, for configurations that also load siptrace.
//!
//! They always tell the script that all is well: whether a message could be captured must not change where it goes.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;

use boundary::{HostCell, fence};
use capture::{Notice, Offer, Refusal, Scope};
use kamailio_sys::{ANY_ROUTE, cmd_export_t, sip_msg};

use crate::log::{Level, log};
use crate::worker::{Shown, Worker};
use crate::{argument, event_route, hooks, message, process, template, worker};

/// What the script sees, always.
const GO_ON: c_int = 1;

type Command = unsafe extern "C" fn(*mut sip_msg, *mut c_char, *mut c_char) -> c_int;
type Command3 = unsafe extern "C" fn(*mut sip_msg, *mut c_char, *mut c_char, *mut c_char) -> c_int;

/// The table for the loader, ended by an empty entry.
pub static TABLE: HostCell<[cmd_export_t; 9]> = HostCell::new([
    command(c"sip_trace", trace, 0),
    command(c"sip_trace", trace_uri, 1),
    command(c"sip_trace", trace_uri_id, 2),
    command(c"sip_trace", as_command(trace_uri_id_mode), 3),
    command(c"siplens_trace", trace, 0),
    command(c"siplens_trace", trace_uri, 1),
    command(c"siplens_trace", trace_uri_id, 2),
    command(c"siplens_trace", as_command(trace_uri_id_mode), 3),
    cmd_export_t { name: null_mut(), function: None, param_no: 0, fixup: None, free_fixup: None, flags: 0 },
]);

const fn command(name: &'static CStr, function: Command, parameters: c_int) -> cmd_export_t {
    cmd_export_t {
        name: name.as_ptr().cast_mut(),
        function: Some(function),
        param_no: parameters,
        fixup: if parameters == 0 { None } else { Some(fix_argument) },
        free_fixup: if parameters == 0 { None } else { Some(free_argument) },
        flags: ANY_ROUTE,
    }
}

/// The table has one type for all functions; the host calls each with as many arguments as `param_no` says.
const fn as_command(function: Command3) -> Command {
    // SAFETY: both are pointers to C functions; the host casts back by `param_no` before it calls.
    unsafe { std::mem::transmute::<Command3, Command>(function) }
}

unsafe extern "C" fn trace(msg: *mut sip_msg, _: *mut c_char, _: *mut c_char) -> c_int {
    run(msg, null_mut(), null_mut(), null_mut())
}

unsafe extern "C" fn trace_uri(msg: *mut sip_msg, uri: *mut c_char, _: *mut c_char) -> c_int {
    run(msg, uri, null_mut(), null_mut())
}

unsafe extern "C" fn trace_uri_id(msg: *mut sip_msg, uri: *mut c_char, id: *mut c_char) -> c_int {
    run(msg, uri, id, null_mut())
}

unsafe extern "C" fn trace_uri_id_mode(
    msg: *mut sip_msg,
    uri: *mut c_char,
    id: *mut c_char,
    mode: *mut c_char,
) -> c_int {
    run(msg, uri, id, mode)
}

/// One call, whatever its number of arguments; those not given are null.
fn run(msg: *mut sip_msg, uri: *mut c_char, id: *mut c_char, mode: *mut c_char) -> c_int {
    if event_route::is_running() {
        return GO_ON;
    }
    if fence(false, || {
        worker::with(|worker| capture(worker, msg, uri, id, mode));
        true
    }) {
        return GO_ON;
    }
    fence((), note_panic);
    GO_ON
}

fn capture(worker: &mut Worker, msg: *mut sip_msg, uri: *mut c_char, id: *mut c_char, mode: *mut c_char) {
    let captured_at = message::now();
    // SAFETY: the host's message, and an argument that fix_argument made; done with before the next is evaluated.
    let mode = unsafe { argument::value(msg, mode) };
    let scope = match scope(mode.unwrap_or(b"m")) {
        Ok(scope) => scope,
        Err(error) => {
            worker.agent.count_refused();
            say_once(Notice::BadMode, error);
            return;
        }
    };
    // SAFETY: as above; what the host may overwrite is copied.
    let collector = unsafe { argument::kept(msg, uri, &mut worker.collector) };
    // SAFETY: as above; something is evaluated after it only if it has no value, or by event_route[siplens:msg].
    let correlation = match event_route::exists() {
        // SAFETY: as above.
        false => unsafe { argument::value(msg, id) },
        // SAFETY: as above; what the route may overwrite is copied.
        true => unsafe { argument::kept(msg, id, &mut worker.correlation) },
    };
    let has_template = correlation.is_none() && template::evaluate(msg, &mut worker.template);

    // SAFETY: a plain question to the host.
    let leaving = unsafe { kamailio_sys::siplens_onsend() };
    // SAFETY: null, or the message that is being sent, valid until onsend_route has ended; we are inside it.
    let leaving = unsafe { leaving.as_ref() };
    // SAFETY: the host passes a message that lives longer than this call, and nothing changes it meanwhile.
    let received = unsafe { msg.as_ref() };
    let (message, shown) = match (leaving, received) {
        // SAFETY: the host set the struct up for the onsend_route that we are called from.
        (Some(info), _) => (unsafe { message::leaving(info, captured_at) }, worker.leaving),
        // SAFETY: the struct is the one that the script works on.
        (None, Some(msg)) => (unsafe { message::received(msg, captured_at) }, worker.received),
        (None, None) => return,
    };
    let offer = Offer {
        message,
        collector,
        correlation,
        template: has_template.then_some(worker.template.as_slice()),
    };
    let mut delivered = Shown::delivered(shown, message.raw);
    let outcome = worker.agent.follow(&offer, scope, &mut delivered);
    if hooks::are_registered() {
        let shown = if leaving.is_some() { &mut worker.leaving } else { &mut worker.received };
        // What the host has not shown, such as the copy that failure_route works on, is nothing to remember.
        if leaving.is_some() || shown.is_some_and(|shown| shown.buffer == message.raw.as_ptr().addr()) {
            *shown = Shown::new(message.raw, delivered);
        }
    }
    if let Ok(followed) = outcome
        && let Some((notice, text)) = followed.complaint()
    {
        say_once(notice, text);
    }
    if let Err(refusal) = outcome {
        let collector = String::from_utf8_lossy(offer.collector.unwrap_or_default());
        match refusal {
            Refusal::BadCollector(_) | Refusal::TooManyCollectors => {
                say_once(refusal.notice(), format_args!("{refusal}: \"{collector}\""));
            }
            Refusal::NoCollector | Refusal::Unencodable => say_once(refusal.notice(), refusal),
        }
    }
}

/// What to capture of a call: as siptrace, by the first letter.
fn scope(text: &[u8]) -> Result<Scope, &'static str> {
    match text.first() {
        Some(b'm' | b'M') => Ok(Scope::Message),
        Some(b't' | b'T') => Ok(Scope::Transaction),
        Some(b'd' | b'D') => Ok(Scope::Dialog),
        _ => Err("sip_trace mode: expected \"m\" (message), \"t\" (transaction) or \"d\" (dialog)"),
    }
}

/// Checks an argument when the configuration is read, then lets the host prepare it.
///
/// What is wrong in every call stops the proxy before it serves; what only a variable's value makes wrong is logged
/// once when it happens.
unsafe extern "C" fn fix_argument(parameter: *mut *mut c_void, number: c_int) -> c_int {
    const REFUSED: c_int = -1;
    fence(REFUSED, || {
        hooks::note_call();
        // SAFETY: the host passes the address of its pointer to the argument's text.
        let text = unsafe { *parameter };
        // SAFETY: the text is the script's literal, ended by a NUL.
        let text = unsafe { CStr::from_ptr(text.cast::<c_char>()) }.to_bytes();
        if let Err(error) = check_literal(text, number) {
            log(Level::Error, error);
            return REFUSED;
        }
        // SAFETY: called with the host's own argument, as if the table named it.
        unsafe { argument::prepare(parameter) }
    })
}

/// Undoes [`fix_argument`].
unsafe extern "C" fn free_argument(parameter: *mut *mut c_void, _: c_int) -> c_int {
    const REFUSED: c_int = -1;
    // SAFETY: the host passes what fix_argument has left in its pointer.
    fence(REFUSED, || unsafe { argument::release(parameter) })
}

fn check_literal(text: &[u8], number: c_int) -> Result<(), String> {
    if number == 3 && !matches!(text, [] | [b'm' | b'M', ..]) {
        hooks::ask_for();
    }
    if !argument::is_literal(text) {
        return Ok(());
    }
    match number {
        1 if !text.is_empty() => capture::collectors(text)
            .map(|_| ())
            .map_err(|error| format!("sip_trace(\"{}\"): {error}", String::from_utf8_lossy(text))),
        3 if !text.is_empty() => scope(text).map(|_| ()).map_err(str::to_owned),
        _ => Ok(()),
    }
}

pub fn say_once(notice: Notice, text: impl std::fmt::Display) {
    if process::shared().is_some_and(|shared| shared.first_time(notice)) {
        log(Level::Warning, format_args!("{text} (said once; siplens.stats counts further ones)"));
    }
}

pub fn note_panic() {
    worker::with(|worker| worker.agent.count_panic());
    let place = boundary::last_panic().map_or_else(|| "unknown".to_owned(), |place| place.to_string());
    say_once(
        Notice::Panic,
        format_args!("panic at {place}, the message was not captured; please report this"),
    );
}
