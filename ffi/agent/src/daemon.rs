//! The sender as a daemon: one attachment, from waiting for the proxy to its end.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use boundary::{map_received, take, wait_readable};
use capture::{Event, Level, Order, Shared};

use crate::said::{Heard, Lines};
use crate::serve::Serving;
use crate::settings::{MAX_SETTINGS_BYTES, Settings};

/// Between two attempts to reach the proxy.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two looks at whether the daemon is to end.
const LOOK: Duration = Duration::from_millis(200);

/// Why an attachment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// The daemon was told to end.
    Asked,
    /// The proxy has gone; what was left in its queues was sent. The next one makes new queues, for which a new process
    /// should begin: the memory of the old ones is freed by its end only.
    ProxyGone,
}

/// Attaches to the proxy that listens at `socket`, waiting for it if need be, and sends what it captures, until the
/// proxy has gone or `ending` is set. Lines for the log go to `log`.
pub fn attach(socket: &Path, ending: &Arc<AtomicBool>, log: &mut impl FnMut(Event)) -> Parting {
    let mut told = String::new();
    // Said once, not at each attempt.
    let mut say = |log: &mut dyn FnMut(Event), level, text: String| {
        if text != told {
            log(Event { level, text: text.clone() });
            told = text;
        }
    };
    loop {
        if ending.load(Ordering::Relaxed) {
            return Parting::Asked;
        }
        match ask(socket, ending, || say(log, Level::Notice, waiting_behind(socket))) {
            Ok(None) => return Parting::Asked,
            Ok(Some((stream, shared, settings))) => {
                let text = format!("attached to the proxy at {}", socket.display());
                log(Event { level: Level::Notice, text });
                match Serving::start(shared, settings) {
                    Ok(serving) => return serve(stream, &serving, ending, log),
                    Err(error) => {
                        say(
                            log,
                            Level::Warning,
                            format!("the sender's thread could not be started: {error}"),
                        );
                    }
                }
            }
            Err(error) => {
                say(log, Level::Warning, format!("{}: {error}; trying again", socket.display()));
            }
        }
        std::thread::sleep(AGAIN);
    }
}

fn waiting_behind(socket: &Path) -> String {
    format!("the proxy at {} has another siplens-agent; waiting for its end", socket.display())
}

/// Connects and waits to be handed the queues; `None` if the daemon is to end before that.
fn ask(
    socket: &Path,
    ending: &AtomicBool,
    mut busy: impl FnMut(),
) -> io::Result<Option<(UnixStream, Shared, Settings)>> {
    let stream = UnixStream::connect(socket)?;
    let mut waited = Duration::ZERO;
    while !wait_readable(&stream, LOOK)? {
        if ending.load(Ordering::Relaxed) {
            return Ok(None);
        }
        waited += LOOK;
        // A keeper that is free answers within a second.
        if waited > 2 * AGAIN {
            busy();
        }
    }
    let (text, file) = take(&stream, MAX_SETTINGS_BYTES)?;
    let settings = Settings::parse(&text).map_err(io::Error::other)?;
    let shared = Shared::attach(map_received(&file)?, settings.age).map_err(io::Error::other)?;
    Ok(Some((stream, shared, settings)))
}

/// Waits for the end of either side and lets the sender finish.
fn serve(
    mut stream: UnixStream,
    serving: &Serving,
    ending: &AtomicBool,
    log: &mut impl FnMut(Event),
) -> Parting {
    let mut lines = Lines::default();
    let parting = loop {
        serving.events.try_iter().for_each(&mut *log);
        if ending.load(Ordering::Relaxed) {
            break Parting::Asked;
        }
        // The proxy never says anything: it is read for its end.
        match wait_readable(&stream, LOOK) {
            Ok(true) if lines.hear(&mut stream) == Heard::End => break Parting::ProxyGone,
            Ok(_) => {}
            Err(_lost) => break Parting::ProxyGone,
        }
    };
    serving.orders.set(match parting {
        Parting::Asked => Order::LeaveQueues,
        Parting::ProxyGone => Order::EmptyQueues,
    });
    let emptied = serving.join();
    serving.events.try_iter().for_each(&mut *log);
    let (level, rest) = if emptied {
        (Level::Notice, "all that was taken was sent or is counted")
    } else {
        (Level::Warning, "what the collectors did not take in time is lost")
    };
    let why = if parting == Parting::Asked { "told to end" } else { "the proxy has gone" };
    log(Event { level, text: format!("{why}; {rest}") });
    parting
}
