//! From `mod_init` to the keeper's endless loop.

use std::ffi::c_int;
use std::io;
use std::ptr::null;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use agent::{Host, Keeper, Listener, Settings};
use boundary::{Child, HostCell, fence};
use capture::{Config, Layout, Shared};
use opensips_sys::proc_export_t;

use crate::log::{Level, log};
use crate::{destinations, hooks, params, template};

static CONFIG: OnceLock<Config> = OnceLock::new();
static SHARED: OnceLock<Shared> = OnceLock::new();
/// Made in `mod_init`, which may still complain; used by the keeper.
static LISTENER: Mutex<Option<Listener>> = Mutex::new(None);

/// What the host's loader takes for failure; it stops the proxy before it has served anything.
const FAILED: c_int = -1;
const DONE: c_int = 0;

/// Queues for more processes than are known of in `mod_init`: modules that come later may ask for more. A queue that
/// is not used takes no memory.
const MORE_PROCESSES: usize = 64;

/// The processes for the loader, ended by an empty entry.
pub static TABLE: HostCell<[proc_export_t; 2]> = HostCell::new([
    proc_export_t {
        name: c"siplens keeper".as_ptr(),
        pre_fork: None,
        post_fork: None,
        function: Some(keep),
        no: 1,
        flags: 0,
    },
    proc_export_t { name: null(), pre_fork: None, post_fork: None, function: None, no: 0, flags: 0 },
]);

/// The checked settings; none before `mod_init`.
pub fn config() -> Option<&'static Config> {
    CONFIG.get()
}

/// The memory that all processes share; none before `mod_init`, and none if the host is not what this was built for.
pub fn shared() -> Option<Shared> {
    SHARED.get().copied()
}

/// Called once, in the main process, after the configuration file has been read and before any fork.
pub unsafe extern "C" fn mod_init() -> c_int {
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
    let config = Config::check(params::settings())
        .map_err(|errors| errors.iter().map(|error| format!("modparam {error}")).collect::<Vec<_>>())?;
    destinations::resolve()?;
    // Told now, and not when the first message waits.
    if config.needs_tls() {
        config.tls.check().map_err(|error| vec![format!("TLS: {error}")])?;
    }
    if config.session_id.is_some() {
        template::prepare().map_err(|error| vec![error])?;
    }
    if !opensips_sys::protocols_look_right() {
        log(
            Level::Error,
            "this OpenSIPS is laid out in another way than the one that the module was built for: nothing is captured; \
             build the module again, for this version",
        );
        return Ok(());
    }
    let shared = share(&config).map_err(|error| vec![error])?;
    let config = CONFIG.get_or_init(|| config);
    let shared = SHARED.get_or_init(|| shared);
    // The sender connects to the default collector before the first message comes.
    if let Some(collector) = &config.collector {
        shared.announce_collector(collector.as_bytes());
    }
    if let Some(mirror) = &config.mirror {
        shared.announce_mirror(mirror.as_bytes());
    }
    hooks::register().map_err(|error| vec![error])
}

fn share(config: &Config) -> Result<Shared, String> {
    // SAFETY: a plain question to the host.
    let known = unsafe { opensips_sys::count_child_processes() };
    let processes = usize::try_from(known).unwrap_or_default() + MORE_PROCESSES;
    let layout = Layout::new(processes, config.ring_size_kib)
        .with_sessions(config.sessions)
        .with_filters(config.trace_filters);
    let made = layout
        .words()
        .ok_or_else(|| "too many processes or sessions".to_owned())
        .and_then(|words| map(words, config))
        .and_then(|words| {
            Shared::new(words, layout, config.enabled).ok_or_else(|| "memory of the wrong size".to_owned())
        });
    made.map_err(|error| format!("shared memory for {processes} processes: {error}"))
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

/// The keeper's process. It must never end: the host takes the end of any of its processes for the end of all.
unsafe extern "C" fn keep(_: c_int) {
    let (Some(shared), Some(config)) = (shared(), config()) else {
        // There is nothing to watch over.
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    };
    let listener = LISTENER.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut keeper = Keeper::new(shared, Settings::of(config), listener);
    loop {
        fence((), || keeper.turn(&OpenSips));
        if let Some(place) = boundary::last_panic() {
            log(Level::Error, format_args!("the keeper panicked at {place}; please report this"));
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

/// What the keeper needs of the host.
struct OpenSips;

impl Host for OpenSips {
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
