//! What one process of the proxy keeps between messages: its agent, and room for a call's arguments.

use std::cell::{Cell, RefCell};
use std::ffi::c_int;

use capture::{Agent, Delivered, Held, Message, Notice, Shared, Shown};

use crate::deferred::Deferred;
use crate::log::{Level, log};
use crate::{event_route, process};

/// One process's capture state.
pub struct Worker {
    /// Queues and counters go with this process.
    pub agent: Agent,
    /// For the call's arguments.
    pub room: Room,
    /// What the configured template makes of the call's message, copied: the host reuses its own buffer.
    pub template: Vec<u8>,
    /// The message that came in last, if the host has shown it to us: the script works on it now.
    pub received: Option<Shown>,
    /// The same message, while the script may still give it an id.
    pub held: Held,
    /// The message that `onsend_route` has captured: the host shows it to us next.
    pub leaving: Option<Shown>,
    /// The message that waits to be sent.
    pub deferred: Deferred,
}

/// Room for the arguments of a call, used again and again: the host reuses its own buffer for the next argument.
pub struct Room {
    pub collector: Vec<u8>,
    pub correlation: Vec<u8>,
    pub text: Vec<u8>,
}

impl Worker {
    /// Hands out the message that was kept, if there is one, and who got it meanwhile.
    pub fn let_go(&mut self, take: impl FnOnce(&mut Agent, &Message<'_>, &mut Delivered)) {
        let Some(message) = self.held.take() else { return };
        let mut delivered = self.received.map(|shown| shown.delivered).unwrap_or_default();
        take(&mut self.agent, &message, &mut delivered);
        if let Some(shown) = &mut self.received {
            shown.delivered = delivered;
        }
    }
}

#[derive(Clone, Copy)]
struct Made {
    process: c_int,
    worker: &'static RefCell<Worker>,
}

thread_local! {
    /// Lives as long as the process, so nothing is destroyed when the host exits.
    static WORKER: Cell<Option<Made>> = const { Cell::new(None) };
}

/// Runs `body` with this process's worker. `None` if there is none, or it is in use further up the stack: then the
/// message is not captured, and that is counted.
#[inline]
pub fn with<T>(body: impl FnOnce(&mut Worker) -> T) -> Option<T> {
    // SAFETY: the host sets it right after a fork, in the process's only thread.
    let process = unsafe { kamailio_sys::process_no };
    let worker = match WORKER.get() {
        Some(made) if made.process == process => made.worker,
        _ => first(process)?,
    };
    let Ok(mut worker) = worker.try_borrow_mut() else {
        process::shared()?.count_stray_offer();
        return None;
    };
    Some(body(&mut worker))
}

/// What [`with`] does at a process's first message.
#[cold]
#[inline(never)]
fn first(process: c_int) -> Option<&'static RefCell<Worker>> {
    let shared = process::shared()?;
    let made = make(shared, process);
    if made.is_none() {
        shared.count_stray_offer();
        if shared.first_time(Notice::NoQueue) {
            log(Level::Warning, "a process without a queue met a message; it is not captured");
        }
    }
    made
}

/// This process's worker, made at its first message. A fork copies its parent's, which must not be used: a queue has
/// one writer.
fn make(shared: Shared, process: c_int) -> Option<&'static RefCell<Worker>> {
    let config = process::config()?;
    let agent = Agent::new(shared, usize::try_from(process).ok()?, config)?.dropping(event_route::drops());
    let worker = Worker {
        agent,
        room: Room {
            collector: Vec::with_capacity(256),
            correlation: Vec::with_capacity(256),
            text: Vec::with_capacity(1024),
        },
        template: Vec::with_capacity(1024),
        received: None,
        held: Held::default(),
        leaving: None,
        deferred: Deferred::new(),
    };
    let worker: &'static RefCell<Worker> = Box::leak(Box::new(RefCell::new(worker)));
    WORKER.set(Some(Made { process, worker }));
    Some(worker)
}
