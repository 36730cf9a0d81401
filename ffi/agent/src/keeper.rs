//! The proxy's side: a process that does nothing but watch over the sender.
//!
//! It is one of the proxy's own, so its end would end the proxy. It holds no message, has no thread, and touches none
//! of the queues' memory but the counters: there is little in it to go wrong, and little to gain by killing it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use boundary::{Child, give, peer, wait_readable};
use capture::{Level, Shared};

use crate::said::{Heard, Lines};
use crate::settings::Settings;

/// The longest turn; also how soon a sender that died at once is started again.
const TURN: Duration = Duration::from_secs(1);
/// A sender that makes no turn for so many seconds does not work.
const STALLED: u64 = 10;

/// What the keeper needs of the proxy.
pub trait Host {
    /// Writes a line to the proxy's log.
    fn log(&self, level: Level, text: &str);
    /// Starts [`child::run`](crate::child::run) in a child of this process.
    ///
    /// # Errors
    /// What the system reports.
    fn start(&self, shared: Shared, settings: &Settings) -> io::Result<Child>;
}

/// The socket at which daemons ask for the queues, and the queues.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    memory: OwnedFd,
    path: String,
}

impl Listener {
    /// Listens at `path`, for the user and group of this process. What a proxy that ended left there is replaced.
    ///
    /// # Errors
    /// What the system reports; `AlreadyExists` if something else stands there.
    pub fn bind(path: &Path, memory: OwnedFd) -> io::Result<Self> {
        if path.symlink_metadata().is_ok_and(|there| !there.file_type().is_socket()) {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "something else than a socket is there",
            ));
        }
        // Made aside and then moved: nobody meets it with wrong permissions, and an old one is replaced at once.
        let mut aside = path.as_os_str().to_owned();
        aside.push(".new");
        match std::fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixListener::bind(&aside)?;
        std::fs::set_permissions(&aside, PermissionsExt::from_mode(0o660))?;
        std::fs::rename(&aside, path)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, memory, path: path.display().to_string() })
    }
}

/// Who sends.
#[derive(Debug)]
enum Sender {
    /// A child of ours, since then.
    Child(Child, Lines, Instant),
    /// A daemon.
    Daemon(UnixStream, Option<u32>),
    None,
}

/// Watches over the sender.
#[derive(Debug)]
pub struct Keeper {
    shared: Shared,
    settings: Settings,
    /// Where daemons come to; without it the sender is a child of ours.
    listener: Option<Listener>,
    sender: Sender,
    start_at: Instant,
    stalled: bool,
    /// Messages that were dropped for lack of room when the last sender went.
    dropped: u64,
    told_drops: bool,
}

impl Keeper {
    /// A keeper of these queues; with a listener, for a daemon, else for a child.
    #[must_use]
    pub fn new(shared: Shared, settings: Settings, listener: Option<Listener>) -> Self {
        Self {
            shared,
            settings,
            listener,
            sender: Sender::None,
            start_at: Instant::now(),
            stalled: false,
            dropped: 0,
            told_drops: false,
        }
    }

    /// Does what there is to do, and waits for more at most a second.
    pub fn turn(&mut self, host: &impl Host) {
        match &mut self.sender {
            Sender::None => self.find_sender(host),
            Sender::Child(child, lines, _) => {
                let ended = match wait_readable(child.stream(), TURN) {
                    Ok(false) => false,
                    Ok(true) => match lines.hear(&mut child.stream()) {
                        Heard::Events(events) => {
                            events.iter().for_each(|event| host.log(event.level, &event.text));
                            false
                        }
                        Heard::End => true,
                    },
                    Err(_lost) => true,
                };
                if ended {
                    self.sender_ended(host);
                }
            }
            Sender::Daemon(stream, _) => {
                let ended = match wait_readable(&*stream, TURN) {
                    Ok(false) => false,
                    Ok(true) => Lines::default().hear(stream) == Heard::End,
                    Err(_lost) => true,
                };
                if ended {
                    self.sender_ended(host);
                }
            }
        }
        self.watch(host);
    }

    fn find_sender(&mut self, host: &impl Host) {
        let found = match &self.listener {
            Some(listener) => hand_over(listener, self.shared, &self.settings, host),
            None => start(host, self.shared, &self.settings, &mut self.start_at),
        };
        let Some((sender, pid)) = found else { return };
        self.sender = sender;
        self.shared.sender_began(pid);
        self.stalled = false;
    }

    fn sender_ended(&mut self, host: &impl Host) {
        let ended = std::mem::replace(&mut self.sender, Sender::None);
        let who = match ended {
            Sender::Child(child, _, since) => {
                // One that dies at once would else be started without a pause.
                self.start_at = Instant::now() + if since.elapsed() < TURN { TURN } else { Duration::ZERO };
                let pid = child.id();
                format!("the sender (process {pid}) ended with {} and is started again", child.wait())
            }
            Sender::Daemon(_, pid) => {
                let pid = pid.map_or_else(|| "of another namespace".to_owned(), |pid| pid.to_string());
                format!(
                    "siplens-agent (process {pid}) has gone; messages wait in the queues for the next one"
                )
            }
            Sender::None => return,
        };
        let lost = self.shared.sender_ended();
        let level = if lost > 0 { Level::Warning } else { Level::Notice };
        let losses = if lost > 0 { format!("; {lost} messages that it had are lost") } else { String::new() };
        host.log(level, &format!("{who}{losses}"));
        self.dropped = self.shared.stats().dropped.ring_full;
        self.told_drops = false;
    }

    /// Says once what an operator should know of a sender that is away, or there and does not work.
    fn watch(&mut self, host: &impl Host) {
        if matches!(self.sender, Sender::None) {
            if !self.told_drops && self.shared.stats().dropped.ring_full > self.dropped {
                self.told_drops = true;
                host.log(Level::Warning, "no sender, and queues are full: messages are dropped (ring_full)");
            }
            return;
        }
        let silence = self.shared.sender_silence().unwrap_or_default();
        if silence >= STALLED && !self.stalled {
            self.stalled = true;
            let text = format!("the sender has not moved for {STALLED} s; messages wait in the queues");
            host.log(Level::Warning, &text);
        } else if silence < STALLED && std::mem::take(&mut self.stalled) {
            host.log(Level::Notice, "the sender works again");
        }
    }
}

/// Waits a while for a daemon and hands it the queues.
fn hand_over(
    listener: &Listener,
    shared: Shared,
    settings: &Settings,
    host: &impl Host,
) -> Option<(Sender, u32)> {
    let Ok(true) = wait_readable(&listener.socket, TURN) else { return None };
    // One that has gone already is no longer there to be accepted.
    let (stream, _) = listener.socket.accept().ok()?;
    let pid = peer(&stream);
    let settings = Settings { age: shared.age(), ..settings.clone() };
    let handed = stream
        .set_nonblocking(true)
        .and_then(|()| give(&stream, &settings.to_text(), listener.memory.as_fd()));
    if let Err(error) = handed {
        host.log(Level::Warning, &format!("{}: the queues were not handed over: {error}", listener.path));
        return None;
    }
    let pid = pid.unwrap_or_default();
    host.log(Level::Notice, &format!("siplens-agent (process {pid}) is attached"));
    Some((Sender::Daemon(stream, Some(pid)), pid))
}

fn start(
    host: &impl Host,
    shared: Shared,
    settings: &Settings,
    start_at: &mut Instant,
) -> Option<(Sender, u32)> {
    std::thread::sleep(start_at.saturating_duration_since(Instant::now()));
    match host.start(shared, settings) {
        Ok(child) => {
            let pid = child.id();
            Some((Sender::Child(child, Lines::default(), Instant::now()), pid))
        }
        Err(error) => {
            host.log(Level::Warning, &format!("the sender could not be started: {error}"));
            *start_at = Instant::now() + TURN;
            None
        }
    }
}
