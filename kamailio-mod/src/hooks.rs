//! Every message that the host receives or sends, in whichever process.
//!
//! Two of the core's events show all of them: what came in before anything is changed, and what was sent, with
//! retransmissions and with what the proxy makes up itself. Each has room for one module; if another one was first,
//! the two events that may change messages are used instead, and show the same messages to us.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use boundary::fence;
use capture::{Config, Delivered, Message, Refusal, Shown};
use kamailio_sys::{
    POST_SCRIPT_CB, SREV_NET_DATA_IN, SREV_NET_DATA_OUT, SREV_NET_DATA_RECV, SREV_NET_DATA_SENT, dest_info,
    script_cb_flag_ONREPLY_CB, script_cb_flag_REQUEST_CB, sip_msg, sr_event_param, sr_net_info, str_,
};

use crate::calls::{note_panic, say_once};
use crate::log::{Level, log};
use crate::worker::Worker;
use crate::{connection, deferred, event_route, kemi, message, params, process, worker};

type Event = unsafe extern "C" fn(*mut sr_event_param) -> c_int;

/// Whether a call in the script may open a session.
static ASKED_FOR: AtomicBool = AtomicBool::new(false);
/// Whether a call in the script may give an id.
static CALLED: AtomicBool = AtomicBool::new(false);
/// Whether what comes in waits for the script's calls.
static HOLDS: AtomicBool = AtomicBool::new(false);
static REGISTERED: AtomicBool = AtomicBool::new(false);
/// Whether the host sends copies, because a module may change them: then not what `onsend_route` saw is shown to us.
static COPIES: AtomicBool = AtomicBool::new(false);

/// Whether the host shows us what it has sent, after the sending.
static SHOWS_SENT: AtomicBool = AtomicBool::new(false);

/// The message goes on as if we were not there; below 0 the host would drop it.
const GO_ON: c_int = 0;

/// Says that the script needs to see later messages; while the configuration is read.
pub fn ask_for() {
    ASKED_FOR.store(true, Ordering::Relaxed);
}

/// Says that the script has a call with arguments; while the configuration is read.
pub fn note_call() {
    CALLED.store(true, Ordering::Relaxed);
}

/// Whether the host shows us all messages.
pub fn are_registered() -> bool {
    REGISTERED.load(Ordering::Relaxed)
}

/// Whether the host shows us all messages, and one of them may be captured without the script's doing.
pub fn are_looked_at() -> bool {
    are_registered() && may_capture()
}

fn may_capture() -> bool {
    process::config().is_some_and(|config| config.automatic)
        || process::shared().is_some_and(|shared| shared.is_watching())
}

/// Whether the host shows us what it has sent, after the sending.
pub fn show_sent() -> bool {
    SHOWS_SENT.load(Ordering::Relaxed)
}

/// Asks the host for its events, if something may want them. To be called before the first fork.
pub fn register(config: &Config) {
    let unseen = kemi::is_possible();
    let by_script = ASKED_FOR.load(Ordering::Relaxed) || unseen || params::has_trace_flag();
    let asked_for = config.automatic || (config.scripted && by_script);
    if !asked_for && config.trace_filters == 0 {
        // SAFETY: a plain question to the host, which has read its script.
        if config.scripted && unsafe { kamailio_sys::siplens_onsend_route() } != 0 {
            SHOWS_SENT.store(ask(SREV_NET_DATA_SENT, was_sent), Ordering::Relaxed);
        }
        return;
    }
    // SAFETY: a plain question to the host; all modules have registered theirs.
    let changed = unsafe { kamailio_sys::sr_event_enabled(SREV_NET_DATA_OUT as c_int) } != 0;
    COPIES.store(changed, Ordering::Relaxed);
    // Filters that nobody may ever add are not worth a copy of each message.
    let came = ask(SREV_NET_DATA_RECV, came_in) || instead(SREV_NET_DATA_IN, coming_in, asked_for);
    let sent = ask(SREV_NET_DATA_SENT, was_sent);
    SHOWS_SENT.store(sent, Ordering::Relaxed);
    let went = sent || instead(SREV_NET_DATA_OUT, going_out, asked_for);
    if asked_for && !(came && went) {
        log(
            Level::Error,
            "no room for another module at the core's events: modes t and d and trace_mode see nothing",
        );
    }
    REGISTERED.store(came && went, Ordering::Relaxed);
    // What is captured in any case waits for the script, should it want to give an id.
    let may_wait = config.automatic || config.trace_filters > 0;
    let may_call = CALLED.load(Ordering::Relaxed) || unseen;
    if came && went && may_wait && config.scripted && may_call {
        let when = POST_SCRIPT_CB | script_cb_flag_REQUEST_CB | script_cb_flag_ONREPLY_CB;
        // SAFETY: the main process, before any fork; the callback lives as long as the module is loaded.
        let status =
            unsafe { kamailio_sys::register_script_cb(Some(script_ended), when, std::ptr::null_mut()) };
        HOLDS.store(status == 0, Ordering::Relaxed);
    }
}

unsafe extern "C" fn script_ended(_: *mut sip_msg, _: c_uint, _: *mut c_void) -> c_int {
    if !fence(false, || {
        worker::with(release);
        true
    }) {
        fence((), note_panic);
    }
    // The host does not look at it.
    1
}

/// Captures the message that waited for the script, under what the script has made of it.
fn release(worker: &mut Worker) {
    worker.let_go(|agent, message, delivered| {
        if let Err(refusal) = agent.observe(message, delivered) {
            say_once(refusal.notice(), refusal);
        }
    });
}

fn ask(event: u32, callback: Event) -> bool {
    // SAFETY: the main process, before any fork; the callback lives as long as the module is loaded.
    let status = unsafe { kamailio_sys::sr_event_register_cb(event as c_int, Some(callback)) };
    status == 0
}

/// The same, if it is worth that, for an event that also shows all messages, when the one made for capture is another
/// module's.
fn instead(event: u32, callback: Event, asked_for: bool) -> bool {
    log(
        Level::Notice,
        if asked_for {
            "another module (siptrace with trace_mode?) has the core's capture event; messages are taken where modules may change them"
        } else {
            "another module (siptrace with trace_mode?) has the core's capture event; siplens.trace_filter is not available"
        },
    );
    asked_for && ask(event, callback)
}

unsafe extern "C" fn came_in(event: *mut sr_event_param) -> c_int {
    shown(event, |event| {
        // SAFETY: for this event the host passes its description of the message, valid until we return.
        let info = unsafe { event.data.cast::<sr_net_info>().as_ref() }?;
        // SAFETY: the octets are as long as the host says, and stay until we return.
        let raw = unsafe { boundary::bytes(info.data.s, info.data.len) };
        // SAFETY: null, or where the message came from, valid until we return.
        let from = unsafe { info.rcv.as_ref() }?;
        Some((message::arrived(raw, from, message::now()), Way::In))
    })
}

unsafe extern "C" fn was_sent(event: *mut sr_event_param) -> c_int {
    shown(event, |event| {
        // SAFETY: for this event the host passes its description of the message, valid until we return.
        let info = unsafe { event.data.cast::<sr_net_info>().as_ref() }?;
        // SAFETY: the octets are as long as the host says, and stay until we return.
        let raw = unsafe { boundary::bytes(info.data.s, info.data.len) };
        // SAFETY: null, or where the message went, valid until we return.
        let to = unsafe { info.dst.as_ref() }?;
        // SAFETY: the socket in it is null or one that the host listens at.
        let message = unsafe { message::departing(raw, to, message::now()) };
        Some((message, if COPIES.load(Ordering::Relaxed) { Way::Copied(to) } else { Way::Out(to) }))
    })
}

unsafe extern "C" fn coming_in(event: *mut sr_event_param) -> c_int {
    shown(event, |event| {
        // SAFETY: for this event the host passes the address of its text, valid until we return.
        let text = unsafe { event.data.cast::<str_>().as_ref() }?;
        // SAFETY: the octets are as long as the host says, and stay until we return.
        let raw = unsafe { boundary::bytes(text.s, text.len) };
        // SAFETY: null, or where the message came from, valid until we return.
        let from = unsafe { event.rcv.as_ref() }?;
        Some((message::arrived(raw, from, message::now()), Way::In))
    })
}

unsafe extern "C" fn going_out(event: *mut sr_event_param) -> c_int {
    shown(event, |event| {
        // SAFETY: for this event the host passes the address of its text, valid until we return.
        let text = unsafe { event.data.cast::<str_>().as_ref() }?;
        // SAFETY: the octets are as long as the host says, and stay until we return.
        let raw = unsafe { boundary::bytes(text.s, text.len) };
        // SAFETY: null, or where the message goes, valid until we return.
        let to = unsafe { event.dst.as_ref() }?;
        // SAFETY: the socket in it is null or one that the host listens at.
        Some((unsafe { message::departing(raw, to, message::now()) }, Way::Copied(to)))
    })
}

/// How the host meets a message.
#[derive(Clone, Copy)]
enum Way<'a> {
    In,
    /// To this destination.
    Out(&'a dest_info),
    /// Out, in a copy at another address than `onsend_route` saw.
    Copied(&'a dest_info),
}

/// One event, from whichever of the host's functions; nothing of it is looked at while nothing is to be captured.
fn shown(
    event: *mut sr_event_param,
    read: impl FnOnce(&sr_event_param) -> Option<(Message<'_>, Way<'_>)>,
) -> c_int {
    if event_route::is_running() {
        return GO_ON;
    }
    if fence(false, || {
        if may_capture() || deferred::waits() {
            // SAFETY: the host passes its event, valid until we return.
            if let Some((message, way)) = unsafe { event.as_ref() }.and_then(read) {
                worker::with(|worker| observe(worker, &message, way));
            }
        }
        true
    }) {
        return GO_ON;
    }
    fence((), note_panic);
    GO_ON
}

/// Whether what comes in may be captured without the script's doing, and the script may want to give it an id.
fn waits_for_script() -> bool {
    HOLDS.load(Ordering::Relaxed)
        && (process::config().is_some_and(|config| config.automatic)
            || process::shared().is_some_and(|shared| shared.was_filtering()))
}

fn observe(worker: &mut Worker, message: &Message<'_>, way: Way<'_>) {
    if deferred::waits() {
        let sent = match way {
            Way::In => None,
            Way::Out(to) => worker.deferred.is_for(message.raw).then_some(to),
            Way::Copied(to) => Some(to),
        };
        // SAFETY: the host shows the message it sends; the socket in the destination is null or one that it listens at.
        let delivered = unsafe { worker.deferred.release(&mut worker.agent, sent) };
        worker.leaving = sent.and_then(|_| Shown::new(message.raw, delivered));
    }
    if matches!(way, Way::In) && waits_for_script() {
        // One that the host found broken, so that no script has run for it.
        release(worker);
        worker.agent.expect(message);
        worker.held.keep(message);
        worker.received = Shown::new(message.raw, Delivered::default());
        worker.leaving = None;
        return;
    }
    let outcome = match way {
        Way::In => {
            let mut delivered = Delivered::default();
            let outcome = worker.agent.observe(message, &mut delivered);
            worker.received = Shown::new(message.raw, delivered);
            // What was about to leave before this came has left, or never will.
            worker.leaving = None;
            outcome
        }
        Way::Out(to) => {
            let delivered = Shown::delivered(worker.leaving.take(), message.raw);
            observe_leaving(worker, message, to, delivered)
        }
        Way::Copied(to) => {
            let delivered = worker.leaving.take().map(|shown| shown.delivered).unwrap_or_default();
            observe_leaving(worker, message, to, delivered)
        }
    };
    if let Err(refusal) = outcome {
        say_once(refusal.notice(), refusal);
    }
}

fn observe_leaving(
    worker: &mut Worker,
    message: &Message<'_>,
    to: &dest_info,
    mut delivered: Delivered,
) -> Result<(), Refusal> {
    worker.agent.observe_with(message, &mut delivered, |message| {
        // SAFETY: the host shows the message it sends; the socket in the destination is null or one that it listens at.
        unsafe { connection::locate(message, to) }
    })
}
