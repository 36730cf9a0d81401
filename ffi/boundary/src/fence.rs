//! Panics stop here.

use std::cell::Cell;
use std::fmt;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};

thread_local! {
    static LAST: Cell<Option<Place>> = const { Cell::new(None) };
}

/// Where a panic came from, `agent.rs:42` when displayed. Its text is left out: it may hold SIP content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The end of the source file's name, at a fixed size so that noting it allocates nothing.
    file: [u8; 32],
    line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.file.iter().position(|&byte| byte != 0).unwrap_or(self.file.len());
        let file = self.file.get(start..).unwrap_or_default();
        write!(f, "{}:{}", String::from_utf8_lossy(file), self.line)
    }
}

/// Runs `body`; if it panics, answers `fallback` instead.
///
/// Every function that C calls has its whole body in here, with the fallback that lets the SIP message pass as if we
/// were not loaded. An unfenced panic would abort the process, and one dead process ends the whole proxy.
///
/// State that `body` was changing may be left half changed, hence the assertion of unwind safety: what outlives a
/// call is either atomic counters or scratch space that each call fills anew.
pub fn fence<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    let body = || {
        #[cfg(feature = "forced-panics")]
        crate::forced::panic_if_wanted();
        body()
    };
    panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        // Dropping a payload runs its destructor, which could panic in turn; leaking a few octets cannot.
        std::mem::forget(payload);
        fallback
    })
}

/// Replaces the process-wide panic report on stderr by a note that [`last_panic`] hands out.
pub fn catch_quietly() {
    panic::set_hook(Box::new(note));
}

/// The place of this thread's last panic, once.
#[must_use]
pub fn last_panic() -> Option<Place> {
    LAST.take()
}

fn note(info: &PanicHookInfo<'_>) {
    let place = info.location().map(|at| {
        let name = at.file().rsplit('/').next().unwrap_or_default().as_bytes();
        let mut file = [0; 32];
        // Filled from the end: what a long name loses is its beginning.
        file.iter_mut().rev().zip(name.iter().rev()).for_each(|(to, from)| *to = *from);
        Place { file, line: at.line() }
    });
    // A panic while the thread ends finds no thread-local; then there is nobody to tell either.
    let _ = LAST.try_with(|last| last.set(place));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_the_fallback_and_is_located_once() {
        catch_quietly();
        assert_eq!(fence(-1, || panic!("on purpose")), -1);
        let place = last_panic().unwrap().to_string();
        assert!(place.starts_with("fence.rs:"), "{place}");
        assert_eq!(last_panic(), None);
    }

    #[test]
    fn without_a_panic_the_fence_is_transparent() {
        assert_eq!(fence(0, || 42), 42);
    }

    #[test]
    fn a_payload_whose_destructor_panics_stays_inside() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("in drop");
            }
        }
        catch_quietly();
        assert_eq!(fence(3, || panic::panic_any(Bomb)), 3);
    }
}
