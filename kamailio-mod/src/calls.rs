//! What a call in the script does, in whichever language the script is written: `commands` and `kemi` evaluate its
//! arguments, the rest is here.
//!
//! The script is always told that all is well: whether a message could be captured must not change where it goes.

use std::ffi::c_int;

use boundary::fence;
use capture::{Agent, Endpoint, Followed, Message, Notice, Offer, Refusal, Scope, Shown, Timestamp};
use kamailio_sys::sip_msg;

use crate::deferred::{self, Deferred};
use crate::log::{Level, log};
use crate::worker::{Room, Worker};
use crate::{connection, event_route, hooks, message, params, process, template, worker};

/// What the script sees, always.
const GO_ON: c_int = 1;

/// The arguments of `sip_trace` and `sip_trace_mode`.
pub struct Trace<'a> {
    /// `None` if the call does not say.
    pub scope: Option<Scope>,
    pub collector: Option<&'a [u8]>,
    pub correlation: Option<&'a [u8]>,
}

/// The arguments of `hlog` and `sip_trace_msg`.
pub struct Text<'a> {
    pub text: &'a [u8],
    pub collector: Option<&'a [u8]>,
    pub correlation: Option<&'a [u8]>,
    /// Source and destination; `None` for those of the message that the script works on.
    pub ends: Option<(Endpoint, Endpoint)>,
}

/// What becomes of a text.
#[derive(Clone, Copy)]
pub enum TextKind {
    /// `hlog`: a line about the message that the script works on.
    Log,
    /// `sip_trace_msg`: a message if it is one.
    Message,
}

/// An argument that cannot be used; logged once.
pub struct BadArgument {
    pub notice: Notice,
    pub text: &'static str,
}

impl BadArgument {
    pub const MODE: Self = Self {
        notice: Notice::BadMode,
        text: "mode: expected \"m\" (message), \"t\" (transaction) or \"d\" (dialog)",
    };
    pub const END: Self = Self {
        notice: Notice::BadEnd,
        text: "sip_trace_msg: source and destination: expected transport:address:port, such as udp:192.0.2.1:5060",
    };
}

/// What to capture of a call: as siptrace, by the first letter. `None` if the text is empty.
pub fn scope(text: &[u8]) -> Result<Option<Scope>, BadArgument> {
    match text.first() {
        None => Ok(None),
        Some(b'm' | b'M') => Ok(Some(Scope::Message)),
        Some(b't' | b'T') => Ok(Some(Scope::Transaction)),
        Some(b'd' | b'D') => Ok(Some(Scope::Dialog)),
        Some(_) => Err(BadArgument::MODE),
    }
}

/// Captures the message that the script works on, and what belongs to it.
///
/// The arguments are evaluated into the room that they are given.
#[inline]
pub fn trace(
    msg: *mut sip_msg,
    arguments: impl for<'r> FnOnce(&'r mut Room) -> Result<Trace<'r>, BadArgument>,
) -> c_int {
    run(|worker| {
        let captured_at = message::now();
        let Worker { agent, room, template, received, leaving, deferred, .. } = worker;
        let Trace { scope, collector, correlation } = match arguments(room) {
            Ok(trace) => trace,
            Err(error) => return refuse(agent, &error),
        };
        // The host may reuse the id's place for this, but there is none.
        let has_template = correlation.is_none() && template::evaluate(msg, template);
        // Made where it stays: it is too large to be moved for nothing.
        let mut offer = Offer { message: Message::NONE, collector, correlation, template: None };
        let Some(is_leaving) = present_at(msg, captured_at, &mut offer.message) else { return };
        let scope = followable(agent, scope.unwrap_or_else(|| params::scope_by_flag(msg)));
        offer.template = has_template.then_some(template.as_slice());
        // What the host is about to send and shows the script before (from 6.0 on, its own CANCEL): its event shows it as
        // it is sent, with its ends.
        if offer.message.source.is_none() && offer.message.destination.is_none() && hooks::show_sent() {
            return tell(agent.follow_later(&offer, scope), collector);
        }
        if is_leaving && connection::is_needed(&offer.message) {
            if wait_for_sending(agent, deferred, &offer, scope) {
                return;
            }
            if !connection::before_sending(&mut offer.message) {
                agent.count_unknown_port();
            }
        }
        let shown = if is_leaving { leaving } else { received };
        // While the host's events are of no interest, nothing tells that another message has come to the same place.
        let shown_now = shown.filter(|_| hooks::are_looked_at());
        let mut delivered = Shown::delivered(shown_now, offer.message.raw);
        let outcome = agent.follow(&offer, scope, &mut delivered);
        // What the host has not shown, such as the copy that failure_route works on, is nothing to remember.
        if hooks::are_looked_at()
            && (is_leaving || shown.is_some_and(|shown| shown.buffer == offer.message.raw.as_ptr().addr()))
        {
            *shown = Shown::new(offer.message.raw, delivered);
        }
        tell(outcome, collector);
    })
}

/// Lets a call wait until its message was sent and its connection is known. `false` if it must not, or cannot.
fn wait_for_sending(agent: &mut Agent, deferred: &mut Deferred, offer: &Offer<'_>, scope: Scope) -> bool {
    // What opens a session cannot wait: the reply may come to another process at once.
    if scope != Scope::Message || !hooks::show_sent() {
        return false;
    }
    if deferred::waits() && !deferred.is_for(offer.message.raw) {
        // SAFETY: without a destination there is no socket to vouch for.
        unsafe { deferred.release(agent, None) };
    }
    deferred.keep(offer)
}

/// Logs what became of a call, if there is something to say.
pub fn tell(outcome: Result<Followed, Refusal>, collector: Option<&[u8]>) {
    match outcome {
        Ok(followed) => {
            if let Some((notice, text)) = followed.complaint() {
                say_once(notice, text);
            }
        }
        Err(refusal) => say_refusal(&refusal, collector),
    }
}

/// Sends a text that the script has made, about the message that it works on.
pub fn text(
    msg: *mut sip_msg,
    kind: TextKind,
    arguments: impl for<'r> FnOnce(&'r mut Room) -> Result<Text<'r>, BadArgument>,
) -> c_int {
    run(|worker| {
        let Worker { agent, room, template, .. } = worker;
        let Text { text, collector, correlation, ends } = match arguments(room) {
            Ok(text) => text,
            Err(error) => return refuse(agent, &error),
        };
        let has_template = correlation.is_none() && template::evaluate(msg, template);
        let captured_at = message::now();
        let (about, is_leaving) = present(msg, captured_at).unwrap_or((Message::NONE, false));
        let (source, destination, transport) = match (ends, kind) {
            (Some((source, destination)), _) => {
                (Some(source.address), Some(destination.address), source.transport)
            }
            (None, TextKind::Message) => (about.source, about.destination, about.transport),
            // The proxy has said it, and to nobody.
            (None, TextKind::Log) => {
                let here = if is_leaving { about.source } else { about.destination };
                (here, here, about.transport)
            }
        };
        let message = Message { raw: text, source, destination, transport, captured_at, inner_call_id: None };
        let template = has_template.then_some(template.as_slice());
        let offer = Offer { message, collector, correlation, template };
        let outcome = match kind {
            TextKind::Log => agent.log(&offer, &about),
            TextKind::Message => agent.offer_text(&offer, &about),
        };
        if let Err(refusal) = outcome {
            say_refusal(&refusal, collector);
        }
    })
}

/// For a message that is looked at only.
pub const NO_TIME: Timestamp = Timestamp { seconds: 0, microseconds: 0 };

/// The message that the script works on, and whether it is leaving: inside `onsend_route` the one that is being sent,
/// everywhere else the one that came in. `None` if there is neither.
pub fn present<'m>(msg: *mut sip_msg, captured_at: Timestamp) -> Option<(Message<'m>, bool)> {
    let mut message = Message::NONE;
    let is_leaving = present_at(msg, captured_at, &mut message)?;
    Some((message, is_leaving))
}

/// The same, put where it is to be.
#[inline(always)]
fn present_at<'m>(msg: *mut sip_msg, captured_at: Timestamp, message: &mut Message<'m>) -> Option<bool> {
    // SAFETY: a plain question to the host.
    let leaving = unsafe { kamailio_sys::siplens_onsend() };
    // SAFETY: null, or the message that is being sent, valid until onsend_route has ended; we are inside it.
    if let Some(leaving) = unsafe { leaving.as_ref() } {
        // SAFETY: the host set the struct up for the onsend_route that we are called from.
        *message = unsafe { message::leaving(leaving, captured_at) };
        return Some(true);
    }
    // SAFETY: the host passes a message that lives longer than this call, and nothing changes it meanwhile.
    let received = unsafe { msg.as_ref() }?;
    // SAFETY: the struct is the one that the script works on.
    *message = unsafe { message::received(received, captured_at) };
    Some(false)
}

/// A transaction or dialog cannot be followed if the host does not show its messages.
#[inline]
fn followable(agent: &Agent, scope: Scope) -> Scope {
    if scope == Scope::Message || hooks::are_registered() {
        return scope;
    }
    agent.count_not_followed();
    say_once(
        Notice::NotShown,
        "mode t or d by a variable without quotes: only the message itself is captured; write \"$var(mode)\", so that it shows when the configuration is read",
    );
    Scope::Message
}

/// One call, fenced. A panic is counted, and the message goes its way. Inside `event_route[siplens:msg]` nothing is done.
#[inline]
fn run(body: impl FnOnce(&mut Worker)) -> c_int {
    if event_route::is_running() {
        return GO_ON;
    }
    if fence(false, || {
        worker::with(body);
        true
    }) {
        return GO_ON;
    }
    fence((), note_panic);
    GO_ON
}

fn refuse(agent: &Agent, error: &BadArgument) {
    agent.count_refused();
    say_once(error.notice, error.text);
}

fn say_refusal(refusal: &Refusal, collector: Option<&[u8]>) {
    match refusal {
        Refusal::BadCollector(_) | Refusal::TooManyCollectors => {
            let collector = String::from_utf8_lossy(collector.unwrap_or_default());
            say_once(refusal.notice(), format_args!("{refusal}: \"{collector}\""));
        }
        Refusal::NoCollector | Refusal::Unencodable => say_once(refusal.notice(), refusal),
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
