#![forbid(unsafe_code)]
//! The sender in a process of its own, and the keeper that watches over it inside the proxy.
//!
//! ```text
//! proxy:  workers → queues (shared memory)        keeper: a process of the proxy's that only waits
//!                      │                             │ starts, or hands the memory to
//!                      └──────────────────────────▶ sender: a child of the keeper, or the daemon siplens-agent
//! ```
//!
//! A proxy ends when one of its own processes ends. The sender is none: it can be killed, run out of memory or be
//! stopped, and messages wait in the queues, or are dropped and counted, until the next sender takes over.
//!
//! - [`Keeper`] is the proxy's side: one turn after the other, each at most a second long.
//! - [`child`] is what the keeper's child does; [`daemon`] is what `siplens-agent` does.
//! - [`Settings`] is what a sender must know beside the queues; the daemon gets them from the proxy, so that everything
//!   is set in one place.

pub mod child;
pub mod daemon;
mod keeper;
mod said;
mod serve;
mod settings;

pub use keeper::{Host, Keeper, Listener};
pub use settings::{MAX_SETTINGS_BYTES, Settings, SettingsError};
