//! The edge between a C host and the Rust inside it: small, unsafe where it must be, and commented throughout.
//!
//! - [`fence()`] keeps a panic from crossing into C, where it would end the process.
//! - [`bytes`] makes a slice of what C describes as pointer and length.
//! - [`HostCell`] is a variable that the host writes and we read.
//! - [`wall_clock`] is the time of day, cheaply.
//! - [`map_shared`] is memory that every process forked later has in common.
//! - [`map_shareable`] is the same for a process that is not the host's, to which [`give`] hands it.
//! - [`Child`] is a process of ours whose end does not end the host.
//! - [`with_signals_blocked`] starts threads that leave the host's signals to the host.
//!
//! What holds for the whole host (fork model, who frees what) is written once, in `ffi/README.md`.
//!
//! ```
//! assert_eq!(boundary::fence(1, || panic!("a mistake of ours")), 1);
//! assert_eq!(boundary::fence(1, || 7), 7);
//! ```

mod cell;
mod child;
mod clock;
mod fence;
#[cfg(feature = "forced-panics")]
mod forced;
mod handover;
mod mapping;
mod signals;
mod view;

pub use cell::HostCell;
pub use child::{Child, Ended};
pub use clock::wall_clock;
pub use fence::{Place, catch_quietly, fence, last_panic};
pub use handover::{give, peer, take, wait_readable};
pub use mapping::{map_received, map_shareable, map_shared};
pub use signals::{Termination, with_signals_blocked};
pub use view::bytes;
