//! The sender as a child of the keeper.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use capture::{Event, Level, Order, Shared};

use crate::said;
use crate::serve::Serving;
use crate::settings::Settings;

/// Sends until the keeper has gone, then what is left in the queues, and returns. To be run in a process of its own.
pub fn run(stream: UnixStream, shared: Shared, settings: Settings) {
    let mut keeper = stream;
    let serving = match Serving::start(shared, settings) {
        Ok(serving) => serving,
        Err(error) => {
            let text = format!("the sender's thread could not be started: {error}");
            let _ = said::tell(&mut keeper, &Event { level: Level::Warning, text });
            // The keeper begins again with a new process.
            return;
        }
    };
    // The keeper never says anything: it is read for its end.
    if let Ok(mut ear) = keeper.try_clone() {
        let orders = serving.orders.clone();
        let watch = move || {
            let mut octets = [0; 64];
            while ear.read(&mut octets).is_ok_and(|read| read > 0) {}
            orders.set(Order::EmptyQueues);
        };
        let _ = std::thread::Builder::new().name("siplens keeper".to_owned()).spawn(watch);
    }
    while serving.orders.get() == Order::Work {
        match serving.events.recv_timeout(Duration::from_millis(200)) {
            Ok(event) => {
                let _ = said::tell(&mut keeper, &event);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    serving.join();
}
