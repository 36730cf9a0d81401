//! From `mod_init` to the keeper's endless loop.

use std::ffi::c_int;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use agent::{Host, Keeper, Listener, Settings};
use boundary::{Child, fence};
use capture::{Config, Layout, Shared};
use kamailio_sys::{PROC_INIT, PROC_MAIN, PROC_NOCHLDINIT};

use crate::log::{Level, log};
use crate::{event_route, hooks, params, statistics, template};

static CONFIG: OnceLock<Config> = OnceLock::new();
static SHARED: OnceLock<Shared> = OnceLock::new();
/// Made in the main process, which may still complain; used by the keeper.
static LISTENER: Mutex<Option<Listener>> = Mutex::new(None);

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
    event_route::find().map_err(|error| vec![error])?;
    statistics::register().map_err(|error| vec![error])?;
    let _ = CONFIG.set(config);
    // SAFETY: mod_init is where the host allows it; the keeper needs one place in its process table.
    unsafe { kamailio_sys::register_procs(1) };
    // SAFETY: as above; the keeper follows changes of the core's configuration.
    unsafe { kamailio_sys::cfg_register_child(1) };
    Ok(())
}

/// Called in every process, and before that twice in the main process: with `PROC_INIT` when no process has been
/// forked yet, and with `PROC_MAIN` when modules may fork their own.
pub extern "C" fn child_init(rank: c_int) -> c_int {
    match rank {
        PROC_INIT => fence(FAILED, share),
        rank if rank == PROC_MAIN as c_int => fence(FAILED, start_keeper),
        // Whatever is wrong with us, a worker starts.
        _ => DONE,
    }
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
        .and_then(|words| map(words, config))
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

/// Memory for the host's processes alone, or for a daemon, too.
fn map(words: usize, config: &Config) -> Result<&'static [AtomicU64], String> {
    let Some(path) = &config.agent_socket else {
        return boundary::map_shared(words).map_err(|error| error.to_string());
    };
    let (words, file) = boundary::map_shareable(words).map_err(|error| error.to_string())?;
    let listener = Listener::bind(path, file)
        .map_err(|error| format!("modparam agent_socket \"{}\": {error}", path.display()))?;
    *LISTENER.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
    Ok(words)
}

fn start_keeper() -> c_int {
    let (Some(shared), Some(config)) = (shared(), config()) else { return FAILED };
    // SAFETY: called in the main process with PROC_MAIN, where modules fork; no thread exists yet. The keeper needs
    // none of the host's sockets (last argument).
    let pid =
        unsafe { kamailio_sys::fork_process(PROC_NOCHLDINIT, c"siplens keeper".as_ptr().cast_mut(), 0) };
    match pid {
        0 => keep(shared, config),
        pid if pid < 0 => {
            log(Level::Error, "the keeper's process could not be started");
            FAILED
        }
        _ => DONE,
    }
}

/// The keeper's process. It must never end: the host takes the end of any of its processes for the end of all.
fn keep(shared: Shared, config: &Config) -> ! {
    // SAFETY: belongs right after the fork in a process that cfg_register_child counted.
    if unsafe { kamailio_sys::cfg_child_init() } != 0 {
        log(Level::Warning, "the keeper does not follow changes of the core's configuration");
    }
    let listener = LISTENER.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut keeper = Keeper::new(shared, Settings::of(config), listener);
    loop {
        fence((), || keeper.turn(&Kamailio));
        if let Some(place) = boundary::last_panic() {
            log(Level::Error, format_args!("the keeper panicked at {place}; please report this"));
            std::thread::sleep(Duration::from_secs(1));
        }
        // SAFETY: this process was counted by cfg_register_child, and cfg_child_init was called in it.
        unsafe { kamailio_sys::siplens_cfg_update() };
    }
}

/// What the keeper needs of the host.
struct Kamailio;

impl Host for Kamailio {
    fn log(&self, level: capture::Level, text: &str) {
        log(level.into(), text);
    }

    fn start(&self, shared: Shared, settings: &Settings) -> io::Result<Child> {
        let settings = settings.clone();
        // SAFETY: the keeper starts no thread, and the sender uses nothing of the host: it says through its stream what
        // is to be logged.
        unsafe { Child::fork(c"siplens sender", |stream| agent::child::run(stream, shared, settings)) }
    }
}

impl From<capture::Level> for Level {
    fn from(level: capture::Level) -> Self {
        match level {
            capture::Level::Notice => Self::Notice,
            capture::Level::Warning => Self::Warning,
        }
    }
}
