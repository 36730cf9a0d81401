//! Every message that the host receives or sends, in whichever process.
//!
//! What comes in is shown by the callbacks before the script, which run before `tm` swallows retransmissions, and by
//! the one for what cannot be parsed. What goes out passes the transports' send functions: those of the core's table
//! are replaced by ours, which call them.

use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use boundary::fence;
use capture::{Delivered, Message, Notice, Offer, Scope, Shown, Timestamp};
use opensips_sys::{
    PARSE_ERR_CB, POST_SCRIPT_CB, PRE_SCRIPT_CB, PROTO_UDP, PROTO_WS, PROTO_WSS, PROTOS, REQ_TYPE_CB,
    RPL_TYPE_CB, SCB_RUN_ALL, ScriptCallback, SendCall, SendFn, SendHook, sip_msg,
};

use crate::commands::{complain, note_panic, say_once};
use crate::message::RealPorts;
use crate::worker::Worker;
use crate::{hidden, message, process, worker};

/// Whether the script has a call that may give an id.
static CALLED: AtomicBool = AtomicBool::new(false);
/// The functions that send, by protocol.
static SENDS: OnceLock<[Option<SendFn>; PROTOS]> = OnceLock::new();

/// Before the callbacks of all others.
const FIRST: c_int = c_int::MAX;

/// Says that the script calls us; while the configuration is read.
pub fn note_call() {
    CALLED.store(true, Ordering::Relaxed);
}

/// Whether what comes in may be captured without the script's doing, and the script may want to give it an id.
fn waits_for_script() -> bool {
    CALLED.load(Ordering::Relaxed)
        && process::config().is_some_and(|config| {
            config.scripted
                && (config.automatic || process::shared().is_some_and(|shared| shared.was_filtering()))
        })
}

/// Puts us between the host and the network. To be called before the first fork.
pub fn register() -> Result<(), String> {
    ask(came_in, PRE_SCRIPT_CB | REQ_TYPE_CB | RPL_TYPE_CB)?;
    ask(script_ended, POST_SCRIPT_CB | REQ_TYPE_CB | RPL_TYPE_CB)?;
    ask(was_broken, PARSE_ERR_CB)?;
    let sends = std::array::from_fn(opensips_sys::protocol);
    let sends = SENDS.get_or_init(|| sends);
    for (proto, _) in sends.iter().enumerate().filter(|(_, send)| send.is_some()) {
        // SAFETY: mod_init, in the main process; what stood there is kept.
        unsafe { opensips_sys::replace_send::<Outgoing>(proto) };
    }
    Ok(())
}

fn ask(callback: ScriptCallback, when: c_int) -> Result<(), String> {
    // SAFETY: the main process, before any fork; the callback lives as long as the module is loaded.
    let status = unsafe { opensips_sys::__register_script_cb(callback, when, null_mut(), FIRST) };
    if status == 0 { Ok(()) } else { Err("the core's script callbacks could not be had".to_owned()) }
}

/// Whether what the host shows may have to be captured. While it has not, nothing else is looked at, nor remembered.
pub fn is_wanted() -> bool {
    process::shared().is_some_and(|shared| {
        shared.is_watching() || process::config().is_some_and(|config| config.automatic)
    })
}

/// Runs a callback's body. Whatever happens in it, the message goes on as if we were not there.
fn shown(body: impl FnOnce()) -> c_int {
    if !fence(false, || {
        body();
        true
    }) {
        fence((), note_panic);
    }
    SCB_RUN_ALL
}

unsafe extern "C" fn came_in(msg: *mut sip_msg, _: *mut c_void) -> c_int {
    shown(|| {
        // SAFETY: the host's message, which it has just received.
        unsafe { hidden::arrived(msg) };
        if worker::has_name() {
            worker::with(|worker| worker.name.forget());
        }
        if !is_wanted() || msg.is_null() {
            return;
        }
        // SAFETY: the host's message, in use until the callback has returned.
        if !unsafe { message::looks_right(msg) } {
            distrust();
            return;
        }
        // SAFETY: as above.
        let message = unsafe { message::received(msg, message::now()) };
        worker::with(|worker| arrived(worker, &message, waits_for_script()));
    })
}

/// What could not be parsed meets no script.
unsafe extern "C" fn was_broken(msg: *mut sip_msg, _: *mut c_void) -> c_int {
    shown(|| {
        // SAFETY: the host's message, which it has just received.
        unsafe { hidden::arrived(msg) };
        if is_wanted() && !msg.is_null() {
            // SAFETY: the host's message, in use until the callback has returned.
            let message = unsafe { message::received(msg, message::now()) };
            worker::with(|worker| arrived(worker, &message, false));
        }
    })
}

unsafe extern "C" fn script_ended(_: *mut sip_msg, _: *mut c_void) -> c_int {
    shown(|| {
        if is_wanted() || worker::has_name() {
            worker::with(|worker| {
                release(worker);
                worker.name.forget();
            });
        }
        hidden::forget();
    })
}

/// Captures the message that waited for the script, under what the script has made of it.
fn release(worker: &mut Worker) {
    worker.let_go(|agent, message, delivered| {
        if let Err(refusal) = agent.observe(message, delivered) {
            say_once(refusal.notice(), refusal);
        }
    });
}

fn arrived(worker: &mut Worker, message: &Message<'_>, holds: bool) {
    // One for which no script has run to its end.
    release(worker);
    worker.take_asked();
    worker.name.forget();
    let mut delivered = Delivered::default();
    if holds {
        worker.agent.expect(message);
        worker.held.keep(message);
    } else if let Err(refusal) = worker.agent.observe(message, &mut delivered) {
        say_once(refusal.notice(), refusal);
    }
    worker.received = Shown::new(message.raw, delivered);
}

/// Switches capture off, since the host's structs are not what the table says.
fn distrust() {
    if let Some(shared) = process::shared() {
        shared.set_enabled(false);
        say_once(
            Notice::BadLayout,
            "a message of this OpenSIPS is laid out in another way than the one that the module was built for: capture \
             is switched off; build the module again, for this version",
        );
    }
}

struct Outgoing;

impl SendHook for Outgoing {
    fn send(proto: usize, call: &SendCall) -> c_int {
        let Some(original) = SENDS.get().and_then(|sends| *sends.get(proto)?) else { return -1 };
        if !fence(false, || is_wanted() || worker::has_asked()) {
            // SAFETY: the function that the core would have called.
            return unsafe { call.forward(original) };
        }
        let before = fence(None, || Some(Before::look(proto, call)));
        // SAFETY: as above.
        let status = unsafe { call.forward(original) };
        if let (Some(before), true) = (before, status >= 0) {
            shown(|| before.capture(proto, call));
        }
        status
    }
}

thread_local! {
    /// Room for a message that the transport changes while it sends.
    static COPY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What has to be known before a message is sent.
struct Before {
    /// A reply may be here before the call that sends has returned.
    at: Timestamp,
    /// Whether the octets were copied.
    copied: bool,
}

impl Before {
    fn look(proto: usize, call: &SendCall) -> Self {
        let is = |other: c_int| c_int::try_from(proto) == Ok(other);
        // A WebSocket client masks the message where it stands.
        let copied = is(PROTO_WS) || is(PROTO_WSS);
        if copied {
            // SAFETY: the host is about to send it.
            let raw = unsafe { message::sent_octets(call) };
            COPY.with_borrow_mut(|copy| {
                copy.clear();
                copy.extend_from_slice(raw);
            });
        }
        if !is(PROTO_UDP) && !call.socket.is_null() {
            // SAFETY: one of the host's sockets.
            let ports = unsafe { opensips_sys::socket_real_ports(call.socket) };
            // The host never resets them: those of another connection must not be taken for this one's.
            // SAFETY: null, or the host's two numbers, which nothing but a tracer reads.
            if let Some(ports) = unsafe { ports.as_mut() } {
                *ports = [0, 0];
            }
        }
        Self { at: message::now(), copied }
    }

    fn capture(&self, proto: usize, call: &SendCall) {
        let mut real = RealPorts::default();
        if c_int::try_from(proto) != Ok(PROTO_UDP) && !call.socket.is_null() {
            // SAFETY: one of the host's sockets.
            let ports = unsafe { opensips_sys::socket_real_ports(call.socket) };
            // SAFETY: null, or the host's two numbers.
            if let Some(&[local, remote]) = unsafe { ports.as_ref() } {
                let known = |port: u16| Some(port).filter(|&port| port != 0);
                real = RealPorts { local: known(local), remote: known(remote) };
            }
        }
        let observe = |raw: &[u8]| {
            // SAFETY: the call that has sent it has not returned yet.
            let message = unsafe { message::sent(call, raw, proto, real, self.at) };
            worker::with(|worker| departed(worker, &message));
        };
        if self.copied {
            COPY.with_borrow(|copy| observe(copy));
        } else {
            // SAFETY: as above.
            observe(unsafe { message::sent_octets(call) });
        }
    }
}

fn departed(worker: &mut Worker, message: &Message<'_>) {
    let mut delivered = Delivered::default();
    let asked = worker.take_asked().filter(|asked| message.call_id() == Some(&asked.call_id));
    if let Some(asked) = asked {
        let offer = Offer {
            message: *message,
            collector: asked.collector.as_deref(),
            correlation: asked.correlation.as_deref(),
            template: None,
        };
        let outcome = worker.agent.follow(&offer, Scope::Message, &mut delivered);
        complain(outcome, offer.collector);
    }
    if is_wanted()
        && let Err(refusal) = worker.agent.observe(message, &mut delivered)
    {
        say_once(refusal.notice(), refusal);
    }
}
