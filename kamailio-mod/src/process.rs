//! From `mod_init` to the sender's endless loop.

use std::ffi::c_int;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use boundary::fence;
use capture::{Config, Event, Layout, Limits, Sender, Shared};
use kamailio_sys::{PROC_INIT, PROC_MAIN, PROC_NOCHLDINIT};

use crate::log::{Level, log};
use crate::{event_route, hooks, params, statistics, template};

static CONFIG: OnceLock<Config> = OnceLock::new();
static SHARED: OnceLock<Shared> = OnceLock::new();

/// What the host's loader takes for failure; it stops the proxy before it has served anything.
const FAILED: c_int = -1;
const DONE: c_int = 0;

/// The checked settings; none before `mod_init`.
pub fn config() -> Option<&'static Config> {
    CONFIG.get()
}

/// The memory that all processes share; none before the first `child_init`.
pub fn shared() -> Option<Shared> {
    SHARED.get().copied()
}

/// Called once, in the main process, after the configuration file has been read.
pub extern "C" fn mod_init() -> c_int {
    boundary::catch_quietly();
    fence(FAILED, || match init() {
        Ok(()) => DONE,
        Err(errors) => {
            errors.iter().for_each(|error| log(Level::Error, error));
            FAILED
        }
    })
}

fn init() -> Result<(), Vec<String>> {
    kamailio_sys::check_layout().map_err(|(name, rust, c)| {
        vec![format!("struct {name}: bindings say {rust} octets, the C compiler {c}; build the module again")]
    })?;
    let config = Config::check(params::settings())
        .map_err(|errors| errors.iter().map(|error| format!("modparam {error}")).collect::<Vec<_>>())?;
    params::read_flag().map_err(|error| vec![error])?;
    // Told now, and not when the first message waits.
    if config.needs_tls() {
        config.tls.check().map_err(|error| vec![format!("TLS: {error}")])?;
    }
    if config.session_id.is_some() {
        template::prepare().map_err(|error| vec![error])?;
    }
    event_route::find();
    statistics::register().map_err(|error| vec![error])?;
    let _ = CONFIG.set(config);
    // SAFETY: mod_init is where the host allows it; the sender needs one place in its process table.
    unsafe { kamailio_sys::register_procs(1) };
    // SAFETY: as above; the sender follows changes of the core's configuration.
    unsafe { kamailio_sys::cfg_register_child(1) };
    Ok(())
}

/// Called in every process, and before that twice in the main process: with `PROC_INIT` when no process has been
/// forked yet, and with `PROC_MAIN` when modules may fork their own.
pub extern "C" fn child_init(rank: c_int) -> c_int {
    fence(FAILED, || match rank {
        PROC_INIT => share(),
        rank if rank == PROC_MAIN as c_int => start_sender(),
        _ => DONE,
    })
}

/// Makes the shared memory. Only now the number of processes is final, as every module has registered its own.
fn share() -> c_int {
    let Some(config) = CONFIG.get() else { return FAILED };
    // SAFETY: a plain question to the host.
    let processes = unsafe { kamailio_sys::get_max_procs() };
    let layout = Layout::new(usize::try_from(processes).unwrap_or_default(), config.ring_size_kib)
        .with_sessions(config.sessions)
        .with_filters(config.trace_filters);
    let made = layout
        .words()
        .ok_or_else(|| "too many processes or sessions".to_owned())
        .and_then(|words| boundary::map_shared(words).map_err(|error| error.to_string()))
        .and_then(|words| {
            Shared::new(words, layout, config.enabled).ok_or_else(|| "memory of the wrong size".to_owned())
        });
    match made {
        Ok(shared) => {
            // The sender connects to the default collector before the first message comes.
            if let Some(collector) = &config.collector {
                shared.announce_collector(collector.as_bytes());
            }
            if let Some(mirror) = &config.mirror {
                shared.announce_mirror(mirror.as_bytes());
            }
            let _ = SHARED.set(shared);
            // Before the first fork, so that all processes have them.
            hooks::register(config);
            DONE
        }
        Err(error) => {
            log(Level::Error, format_args!("shared memory for {processes} processes: {error}"));
            FAILED
        }
    }
}

fn start_sender() -> c_int {
    let Some(shared) = shared() else { return FAILED };
    // SAFETY: called in the main process with PROC_MAIN, where modules fork; no thread exists yet. The sender needs
    // none of the host's sockets (last argument).
    let pid =
        unsafe { kamailio_sys::fork_process(PROC_NOCHLDINIT, c"siplens sender".as_ptr().cast_mut(), 0) };
    match pid {
        0 => sender_process(shared),
        pid if pid < 0 => {
            log(Level::Error, "the sender's process could not be started");
            FAILED
        }
        _ => DONE,
    }
}

/// The sender's process. It must never end: the host takes the end of any of its processes for the end of all.
fn sender_process(shared: Shared) -> ! {
    // SAFETY: belongs right after the fork in a process that cfg_register_child counted.
    if unsafe { kamailio_sys::cfg_child_init() } != 0 {
        log(Level::Warning, "the sender does not follow changes of the core's configuration");
    }
    loop {
        fence((), || watch(shared));
        // Reached only after a defect of ours; what is in the queues waits meanwhile.
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Writes the sender's events to the log until its thread has ended. The thread does the work so that this one, the
/// only one that gets signals and may log, is always free for both.
fn watch(shared: Shared) {
    let (events, incoming) = sync_channel(64);
    match boundary::with_signals_blocked(|| start_thread(shared, events)) {
        Ok(thread) => follow(&incoming, &thread),
        Err(error) => log(Level::Error, format_args!("the sender's thread could not be started: {error}")),
    }
}

fn start_thread(shared: Shared, events: SyncSender<Event>) -> std::io::Result<JoinHandle<()>> {
    Builder::new().name("siplens sender".to_owned()).spawn(move || {
        let said = events.clone();
        fence((), || sender(shared, events).run());
        let place = boundary::last_panic().map_or_else(|| "unknown".to_owned(), |place| place.to_string());
        let text = format!("the sender panicked at {place} and is started again; please report this");
        let _ = said.try_send(Event { level: capture::Level::Warning, text });
    })
}

fn sender(shared: Shared, events: SyncSender<Event>) -> Sender {
    let Some(config) = config() else { return Sender::new(shared, Limits::default(), events) };
    let limits = Limits { backlog_bytes: config.backlog_bytes, ..Limits::default() };
    Sender::new(shared, limits, events).with_tls(config.tls.clone())
}

fn follow(incoming: &Receiver<Event>, thread: &JoinHandle<()>) {
    while !thread.is_finished() {
        match incoming.recv_timeout(Duration::from_secs(1)) {
            Ok(event) => log(event.level.into(), event.text),
            Err(RecvTimeoutError::Timeout) => {
                // SAFETY: this process was counted by cfg_register_child, and cfg_child_init was called in it.
                unsafe { kamailio_sys::siplens_cfg_update() };
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
    incoming.try_iter().for_each(|event| log(event.level.into(), event.text));
}

impl From<capture::Level> for Level {
    fn from(level: capture::Level) -> Self {
        match level {
            capture::Level::Notice => Self::Notice,
            capture::Level::Warning => Self::Warning,
        }
    }
}
