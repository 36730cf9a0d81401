//! The sender in a thread, started again if it panics.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use boundary::fence;
use capture::{Event, Level, Orders, Sender, Shared};

use crate::settings::Settings;

/// How long an ending sender has for what it still holds; what it cannot get rid of in this time is lost and counted.
pub const FAREWELL: Duration = Duration::from_secs(3);

/// A sender at work.
#[derive(Debug)]
pub struct Serving {
    /// What it is to do.
    pub orders: Orders,
    /// Lines for the log; they end when it has ended.
    pub events: Receiver<Event>,
    thread: JoinHandle<()>,
}

impl Serving {
    /// Starts a sender.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn start(shared: Shared, settings: Settings) -> std::io::Result<Self> {
        let (said, events) = sync_channel(64);
        let orders = Orders::default();
        let given = orders.clone();
        let thread = Builder::new()
            .name("siplens sender".to_owned())
            .spawn(move || while !served(shared, &settings, &given, &said) {})?;
        Ok(Self { orders, events, thread })
    }

    /// Waits until it has ended, at most for [`FAREWELL`]; whether it has.
    pub fn join(&self) -> bool {
        let until = Instant::now() + FAREWELL;
        while !self.thread.is_finished() {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }
}

/// Runs one sender; whether it ended as ordered. A defect of ours must not end the capture: what is in the queues waits
/// meanwhile.
fn served(shared: Shared, settings: &Settings, orders: &Orders, said: &SyncSender<Event>) -> bool {
    let ended = fence(false, || {
        Sender::new(shared, settings.limits(), said.clone()).with_tls(settings.tls.clone()).run(orders);
        true
    });
    if !ended {
        let place = boundary::last_panic().map_or_else(|| "unknown".to_owned(), |place| place.to_string());
        let text = format!("the sender panicked at {place} and is started again; please report this");
        let _ = said.try_send(Event { level: Level::Warning, text });
        std::thread::sleep(Duration::from_secs(1));
    }
    ended
}
