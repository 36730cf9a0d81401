//! What one process of the proxy keeps between messages: its agent, and room for a call's arguments.

use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

use capture::{Agent, Delivered, Held, Message, Notice, Shared, Shown};

use crate::log::{Level, log};
use crate::process;

/// One process's capture state.
pub struct Worker {
    /// Queues and counters go with this process.
    pub agent: Agent,
    /// The call's collector, copied: the host reuses its own buffer for the next evaluation.
    pub collector: Vec<u8>,
    /// The text of `hlog` and `sip_trace_msg`, and its id, copied likewise.
    pub text: Vec<u8>,
    /// What the configured template makes of the call's message, copied likewise.
    pub template: Vec<u8>,
    /// The message that came in last, if the host has shown it to us: the script works on it now.
    pub received: Option<Shown>,
    /// The same message, while the script may still give it an id.
    pub held: Held,
    /// What `local_route` asked for the message that is about to be sent.
    asked: Option<Asked>,
    /// The id that the script has put into `$siplens(id)`.
    pub name: Name,
}

/// An id for the later calls of the script that give none, for one message.
pub struct Name {
    of: Option<Shown>,
    pub text: Vec<u8>,
}

impl Name {
    /// Keeps an id for a message; an empty one is none.
    pub fn set(&mut self, message: &Message<'_>, text: &[u8]) {
        self.text.clear();
        self.text.extend_from_slice(text);
        self.of = Shown::new(message.raw, Delivered::default()).filter(|_| !text.is_empty());
        HAS_NAME.store(self.of.is_some(), Ordering::Relaxed);
    }

    /// The id of this message.
    pub fn of(&self, message: &Message<'_>) -> Option<&[u8]> {
        let same = HAS_NAME.load(Ordering::Relaxed)
            && self.of.is_some_and(|of| of.buffer == message.raw.as_ptr().addr());
        same.then_some(self.text.as_slice())
    }

    /// Another message may lie in the same place.
    pub fn forget(&mut self) {
        self.of = None;
        HAS_NAME.store(false, Ordering::Relaxed);
    }
}

/// A call in `local_route` with mode `m`: there the message has no destination yet.
pub struct Asked {
    /// Of the message that it is about.
    pub call_id: Vec<u8>,
    /// As the call gave it.
    pub collector: Option<Vec<u8>>,
    /// As the call, or the template, gave it.
    pub correlation: Option<Vec<u8>>,
}

impl Worker {
    /// Notes what to do with the message that is about to be sent.
    pub fn ask(&mut self, asked: Asked) {
        self.asked = Some(asked);
        HAS_ASKED.store(true, Ordering::Relaxed);
    }

    /// What was noted, once.
    pub fn take_asked(&mut self) -> Option<Asked> {
        HAS_ASKED.store(false, Ordering::Relaxed);
        self.asked.take()
    }

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

/// Whether something is asked for the message that is about to be sent. Looked at for each that is: every process has its
/// own, as it has its own worker.
static HAS_ASKED: AtomicBool = AtomicBool::new(false);
/// Whether the script has chosen an id for the message that it works on. As above.
static HAS_NAME: AtomicBool = AtomicBool::new(false);

#[derive(Clone, Copy)]
struct Made {
    process: c_int,
    worker: &'static RefCell<Worker>,
}

thread_local! {
    /// Lives as long as the process, so nothing is destroyed when the host exits.
    static WORKER: Cell<Option<Made>> = const { Cell::new(None) };
}

/// Whether there is an id to be forgotten when the script has ended.
pub fn has_name() -> bool {
    HAS_NAME.load(Ordering::Relaxed)
}

/// Whether a call in `local_route` waits for the message that is about to be sent.
pub fn has_asked() -> bool {
    HAS_ASKED.load(Ordering::Relaxed)
}

/// Runs `body` with this process's worker. `None` if there is none, or it is in use further up the stack: then the
/// message is not captured, and that is counted.
#[inline]
pub fn with<T>(body: impl FnOnce(&mut Worker) -> T) -> Option<T> {
    // SAFETY: the host sets it right after a fork, in the process's only thread.
    let process = unsafe { opensips_sys::process_no };
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
    let agent = Agent::new(shared, usize::try_from(process).ok()?, config)?;
    let worker = Worker {
        agent,
        collector: Vec::with_capacity(256),
        template: Vec::with_capacity(1024),
        received: None,
        held: Held::default(),
        asked: None,
        name: Name { of: None, text: Vec::with_capacity(256) },
        text: Vec::with_capacity(1024),
    };
    let worker: &'static RefCell<Worker> = Box::leak(Box::new(RefCell::new(worker)));
    WORKER.set(Some(Made { process, worker }));
    Some(worker)
}
