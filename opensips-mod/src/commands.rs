//! Script functions: `sip_trace([uri], [correlation_id], [mode])`; `siplens_trace` is the same. `trace` takes its
//! arguments in the order of OpenSIPS' own tracer, and is there only if that is not loaded. Those for texts are in `texts`.
//!
//! They always tell the script that all is well: whether a message could be captured must not change where it goes.

use std::ffi::{CStr, c_int, c_void};
use std::ptr::null;

use boundary::{HostCell, fence};
use capture::{Endpoint, Followed, Message, Notice, Offer, Refusal, Scope, Shown};
use opensips_sys::{
    CMD_PARAM_FIX_NULL, CMD_PARAM_OPT, CMD_PARAM_STR, CMD_PARAMS, CommandFn, FixupFn, LOCAL_ROUTE,
    MESSAGE_ROUTES, cmd_export_t, cmd_param, sip_msg,
};

use crate::log::{Level, log};
use crate::worker::{Asked, Worker};
use crate::{argument, destinations, hooks, message, process, template, texts, worker};

/// What the script sees, always.
const GO_ON: c_int = 1;

/// The table for the loader, ended by an empty entry.
pub static TABLE: HostCell<[cmd_export_t; 8]> = HostCell::new([
    command(c"sip_trace", sip_trace, &[checked(fix_collector), text(), checked(fix_scope)]),
    command(c"siplens_trace", sip_trace, &[checked(fix_collector), text(), checked(fix_scope)]),
    command(
        c"trace",
        trace,
        &[text(), checked(fix_scope), checked(fix_type), text(), checked(fix_flags), text()],
    ),
    command(c"hlog", texts::hlog, &[text(), text()]),
    command(c"siplens_hlog", texts::hlog, &[text(), text()]),
    command(c"sip_trace_msg", texts::sip_trace_msg, &OF_TRACE_MSG),
    command(c"siplens_trace_msg", texts::sip_trace_msg, &OF_TRACE_MSG),
    cmd_export_t { name: null(), function: None, params: [NO_PARAM; CMD_PARAMS], flags: 0 },
]);

const OF_TRACE_MSG: [cmd_param; 5] =
    [text(), checked(fix_end), checked(fix_end), checked(fix_collector), text()];

/// Where the table has `trace`.
const TRACE: usize = 2;

const NO_PARAM: cmd_param = cmd_param { flags: 0, fixup: None, free_fixup: None };

const fn text() -> cmd_param {
    cmd_param { flags: CMD_PARAM_STR | CMD_PARAM_OPT, fixup: None, free_fixup: None }
}

const fn checked(fixup: FixupFn) -> cmd_param {
    cmd_param { fixup: Some(fixup), ..text() }
}

const fn command(name: &'static CStr, function: CommandFn, given: &[cmd_param]) -> cmd_export_t {
    let mut params = [NO_PARAM; CMD_PARAMS];
    let mut index = 0;
    while index < given.len() {
        params[index] = given[index];
        index += 1;
    }
    // Never given; its fixup tells that there is a call at all.
    params[index] = cmd_param {
        flags: CMD_PARAM_STR | CMD_PARAM_OPT | CMD_PARAM_FIX_NULL,
        fixup: Some(argument::note_call),
        free_fixup: None,
    };
    cmd_export_t { name: name.as_ptr(), function: Some(function), params, flags: MESSAGE_ROUTES }
}

/// Called right after loading. If the tracer is there, `trace` is its. If it comes later, the core finds it first.
pub unsafe extern "C" fn choose_names() -> c_int {
    fence(0, || {
        // SAFETY: a plain question to the host.
        if unsafe { opensips_sys::module_loaded(c"tracer".as_ptr()) } != 0 {
            // SAFETY: the loader reads the table only after this, and nobody else has seen it yet.
            if let Some(entry) = unsafe { TABLE.pointer().as_mut() }.and_then(|table| table.get_mut(TRACE)) {
                entry.name = null();
            }
        }
        0
    })
}

unsafe extern "C" fn sip_trace(
    msg: *mut sip_msg,
    uri: *mut c_void,
    id: *mut c_void,
    mode: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
) -> c_int {
    run(|worker| {
        // SAFETY: the host's argument, valid until the call returns.
        let uri = unsafe { argument::value(uri) };
        // SAFETY: as above.
        let id = unsafe { argument::value(id) };
        // SAFETY: as above.
        let mode = unsafe { argument::value(mode) };
        capture(worker, msg, &Call { collector: uri, id, scope: scope(mode.unwrap_or(b"m")) });
    })
}

unsafe extern "C" fn trace(
    msg: *mut sip_msg,
    trace_id: *mut c_void,
    mode: *mut c_void,
    _kind: *mut c_void,
    _attributes: *mut c_void,
    _flags: *mut c_void,
    id: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
) -> c_int {
    run(|worker| {
        // SAFETY: the host's argument, valid until the call returns.
        let trace_id = unsafe { argument::value(trace_id) };
        // SAFETY: as above.
        let id = unsafe { argument::value(id) };
        // SAFETY: as above.
        let mode = unsafe { argument::value(mode) };
        let named = trace_id.and_then(destinations::named);
        let collector = named.as_deref().map(str::as_bytes).or(trace_id);
        capture(worker, msg, &Call { collector, id, scope: scope(mode.unwrap_or(b"d")) });
    })
}

/// What a call asks for.
struct Call<'c> {
    collector: Option<&'c [u8]>,
    id: Option<&'c [u8]>,
    scope: Result<Scope, &'static str>,
}

/// One call, fenced. A panic is counted, and the message goes its way.
pub fn run(body: impl FnOnce(&mut Worker)) -> c_int {
    if fence(false, || {
        worker::with(body);
        true
    }) {
        return GO_ON;
    }
    fence((), note_panic);
    GO_ON
}

fn capture(worker: &mut Worker, msg: *mut sip_msg, call: &Call<'_>) {
    let captured_at = message::now();
    let scope = match call.scope {
        Ok(scope) => scope,
        Err(error) => {
            worker.agent.count_refused();
            say_once(Notice::BadMode, error);
            return;
        }
    };
    if msg.is_null() {
        return;
    }
    // SAFETY: the host's message, which lives longer than this call; nothing changes its octets meanwhile.
    let message = unsafe { message::received(msg, captured_at) };
    let (mut collector, mut id) = (call.collector, call.id);
    id = id.or_else(|| worker.name.of(&message));
    let mut from_template = None;
    if id.is_none() && template::is_set() {
        // The host may use the argument's place again.
        worker.collector.clear();
        worker.collector.extend_from_slice(collector.unwrap_or_default());
        collector = collector.map(|_| worker.collector.as_slice());
        if template::evaluate(msg, &mut worker.template) {
            from_template = Some(worker.template.as_slice());
        }
    }

    let offer = Offer { message, collector, correlation: id, template: from_template };
    // SAFETY: a plain question to the host.
    if unsafe { opensips_sys::route_type } == LOCAL_ROUTE {
        if scope == Scope::Message {
            let asked = Asked {
                call_id: message.call_id().unwrap_or_default().to_vec(),
                collector: collector.map(<[u8]>::to_vec),
                correlation: id.or(from_template).map(<[u8]>::to_vec),
            };
            worker.ask(asked);
        } else {
            complain(worker.agent.follow_later(&offer, scope), collector);
        }
        return;
    }
    let shown = worker.received.filter(|_| hooks::is_wanted());
    let mut delivered = Shown::delivered(shown, message.raw);
    let outcome = worker.agent.follow(&offer, scope, &mut delivered);
    complain(outcome, collector);
    // What the host has not shown, such as the copy that failure_route works on, is nothing to remember.
    if shown.is_some_and(|shown| shown.buffer == message.raw.as_ptr().addr()) {
        worker.received = Shown::new(message.raw, delivered);
    }
}

/// Follows the dialog of the message that the script works on under `$siplens(id)`, if everything is captured anyway.
pub fn name_dialog(worker: &mut Worker, message: &Message<'_>) {
    let name = std::mem::take(&mut worker.name.text);
    let offer = Offer { message: *message, collector: None, correlation: Some(&name), template: None };
    let mut delivered = Shown::delivered(worker.received, message.raw);
    let outcome = worker.agent.follow(&offer, Scope::Dialog, &mut delivered);
    complain(outcome, None);
    if let Some(shown) = &mut worker.received {
        shown.delivered = delivered;
    }
    worker.name.text = name;
}

/// Logs what an offer has met with, once.
pub fn complain(outcome: Result<Followed, Refusal>, collector: Option<&[u8]>) {
    match outcome {
        Ok(followed) => {
            if let Some((notice, text)) = followed.complaint() {
                say_once(notice, text);
            }
        }
        Err(refusal) => complain_of(refusal, collector),
    }
}

/// Logs why an offer was refused, once.
pub fn complain_of(refusal: Refusal, collector: Option<&[u8]>) {
    match refusal {
        Refusal::BadCollector(_) | Refusal::TooManyCollectors => {
            let collector = String::from_utf8_lossy(collector.unwrap_or_default());
            say_once(refusal.notice(), format_args!("{refusal}: \"{collector}\""));
        }
        Refusal::NoCollector | Refusal::Unencodable => say_once(refusal.notice(), refusal),
    }
}

/// What to capture of a call: by the first letter.
fn scope(text: &[u8]) -> Result<Scope, &'static str> {
    match text.first() {
        Some(b'm' | b'M') => Ok(Scope::Message),
        Some(b't' | b'T') => Ok(Scope::Transaction),
        Some(b'd' | b'D') => Ok(Scope::Dialog),
        _ => Err("sip_trace mode: expected \"m\" (message), \"t\" (transaction) or \"d\" (dialog)"),
    }
}

unsafe extern "C" fn fix_collector(argument: *mut *mut c_void) -> c_int {
    let check = |text: &[u8]| {
        let checked = capture::collectors(text).map(|_| ());
        checked.map_err(|error| format!("sip_trace(\"{}\"): {error}", String::from_utf8_lossy(text)))
    };
    // SAFETY: called by the host for an argument of ours.
    unsafe { argument::check(argument, check) }
}

unsafe extern "C" fn fix_end(argument: *mut *mut c_void) -> c_int {
    let check = |text: &[u8]| match Endpoint::parse(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("{}: \"{}\"", texts::BAD_END, String::from_utf8_lossy(text))),
    };
    // SAFETY: called by the host for an argument of ours.
    unsafe { argument::check(argument, check) }
}

unsafe extern "C" fn fix_scope(argument: *mut *mut c_void) -> c_int {
    // SAFETY: called by the host for an argument of ours.
    unsafe { argument::check(argument, |text| scope(text).map(|_| ()).map_err(str::to_owned)) }
}

unsafe extern "C" fn fix_type(argument: *mut *mut c_void) -> c_int {
    let check = |text: &[u8]| match text {
        b"sip" => Ok(()),
        _ => Err(format!("trace type \"{}\": only \"sip\" is captured", String::from_utf8_lossy(text))),
    };
    // SAFETY: called by the host for an argument of ours.
    unsafe { argument::check(argument, check) }
}

unsafe extern "C" fn fix_flags(argument: *mut *mut c_void) -> c_int {
    let check = |_: &[u8]| Err("trace flags: both sides are always captured; leave them out".to_owned());
    // SAFETY: called by the host for an argument of ours.
    unsafe { argument::check(argument, check) }
}

pub fn say_once(notice: Notice, text: impl std::fmt::Display) {
    if process::shared().is_some_and(|shared| shared.first_time(notice)) {
        log(Level::Warning, format_args!("{text} (said once; siplens:stats counts further ones)"));
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
