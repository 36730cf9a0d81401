//! Panics on purpose, in every fence: a test sees that none gets out. Not compiled but for that test.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::OnceLock;

thread_local! {
    static PANICKED: Cell<bool> = const { Cell::new(false) };
}

/// Panics while the file that `SIPLENS_FORCED_PANICS` names exists; not twice in a row, so that the panic can be counted.
#[expect(clippy::panic, reason = "it is what the test asks for")]
pub fn panic_if_wanted() {
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let file = FILE.get_or_init(|| std::env::var_os("SIPLENS_FORCED_PANICS").map(Into::into));
    let wanted = file.as_ref().is_some_and(|file| file.exists());
    let now = wanted && !PANICKED.get();
    PANICKED.set(now);
    if now {
        panic!("on purpose");
    }
}
