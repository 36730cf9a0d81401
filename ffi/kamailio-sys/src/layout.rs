//! Whether Rust and C agree on the structs that cross the edge.

use crate::{dest_info, module_exports, receive_info, sip_msg, siplens_sizes, socket_info};

/// Compares bindgen's sizes with the C compiler's. The answer names the first struct that differs, with both sizes in
/// octets (Rust's first).
///
/// # Errors
/// A difference means that the bindings were made with other defines than the shim: nothing may be read through them.
pub fn check() -> Result<(), (&'static str, usize, usize)> {
    let ours = [
        ("sip_msg", size_of::<sip_msg>()),
        ("receive_info", size_of::<receive_info>()),
        ("dest_info", size_of::<dest_info>()),
        ("socket_info", size_of::<socket_info>()),
        ("module_exports", size_of::<module_exports>()),
    ];
    // SAFETY: the shim defines the array as a constant; nothing ever writes it.
    let theirs = unsafe { siplens_sizes };
    for ((name, rust), c) in ours.into_iter().zip(theirs) {
        if rust != c {
            return Err((name, rust, c));
        }
    }
    Ok(())
}
