//! Threads and processes inside a host that handles signals its own way, and a program of our own that ends by one.

use std::mem::MaybeUninit;

/// Runs `body` with every signal blocked in this thread, then restores what was blocked before.
///
/// A thread inherits the mask of its creator: started in here, it never runs the host's signal handlers, which were
/// written for the process's one and only thread.
pub fn with_signals_blocked<T>(body: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset writes the whole set.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: `all` was filled above; the previous mask is written to `before`. It fails only for an unknown first
    // argument.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    let restore = Restore(before);
    let answer = body();
    drop(restore);
    answer
}

/// Blocks every signal in this thread for good.
pub fn block_all() {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset writes the whole set.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: `all` was filled above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut()) };
}

/// The wish that this process ends: SIGTERM or SIGINT.
#[derive(Debug)]
pub struct Termination(MaybeUninit<libc::sigset_t>);

impl Termination {
    /// Blocks both signals in this thread and in all that it will start, so that they wait for [`wait`](Self::wait).
    #[must_use]
    pub fn hold() -> Self {
        let mut both = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset writes the whole set.
        unsafe { libc::sigemptyset(both.as_mut_ptr()) };
        for signal in [libc::SIGTERM, libc::SIGINT] {
            // SAFETY: the set was written above, and the signal exists.
            unsafe { libc::sigaddset(both.as_mut_ptr(), signal) };
        }
        // SAFETY: `both` was written above.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, both.as_ptr(), std::ptr::null_mut()) };
        Self(both)
    }

    /// Returns when one of them has come.
    pub fn wait(&self) {
        let mut came = 0;
        // SAFETY: the set was written by `hold`, and `came` lives until the call is over.
        unsafe { libc::sigwait(self.0.as_ptr(), &raw mut came) };
    }
}

/// Puts the previous mask back, also when the body panics.
struct Restore(MaybeUninit<libc::sigset_t>);

impl Drop for Restore {
    fn drop(&mut self) {
        // SAFETY: the mask was written by pthread_sigmask before this was made.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, self.0.as_ptr(), std::ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term_is_blocked() -> bool {
        let mut now = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: a null new mask only reads the present one into `now`.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), now.as_mut_ptr()) };
        // SAFETY: `now` was written above.
        (unsafe { libc::sigismember(now.as_ptr(), libc::SIGTERM) }) == 1
    }

    #[test]
    fn a_thread_started_inside_has_signals_blocked_and_the_caller_has_not() {
        let inside = with_signals_blocked(|| std::thread::spawn(term_is_blocked));
        assert!(inside.join().unwrap());
        assert!(!term_is_blocked());
    }

    #[test]
    fn a_signal_to_end_waits_until_it_is_asked_for() {
        let thread = std::thread::spawn(|| {
            let termination = Termination::hold();
            // SAFETY: it has no conditions.
            let this = unsafe { libc::pthread_self() };
            // SAFETY: the thread is this one, which runs.
            unsafe { libc::pthread_kill(this, libc::SIGTERM) };
            termination.wait();
        });
        thread.join().unwrap();
    }
}
