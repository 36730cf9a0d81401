//! Wrong passwords are counted, so that nobody can try many.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wrong passwords for one name from one address before it has to wait.
const MOST: u32 = 10;

/// How long it has to wait, from the first of them.
const PAUSE: Duration = Duration::from_secs(60);

/// How many names and addresses are kept at a time.
const KEPT: usize = 10_000;

/// Wrong passwords of late. By name and address together: one guesser locks out neither the user elsewhere, nor other
/// users behind the same proxy.
#[derive(Default)]
pub(super) struct Failures(Mutex<HashMap<(IpAddr, String), (u32, Instant)>>);

impl Failures {
    /// Whether a password may be tried now.
    pub fn may_try(&self, peer: IpAddr, name: &str) -> bool {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (peer, short(name));
        failures.get(&key).is_none_or(|(count, since)| *count < MOST || since.elapsed() >= PAUSE)
    }

    /// Notes whether a password was right.
    pub fn note(&self, peer: IpAddr, name: &str, right: bool) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (peer, short(name));
        if right {
            failures.remove(&key);
            return;
        }
        if failures.len() >= KEPT {
            failures.retain(|_, (_, since)| since.elapsed() < PAUSE);
        }
        if failures.len() >= KEPT {
            // Somebody tries thousands of names in a minute; those who waited wait no more, which costs less than memory
            // without bound.
            failures.clear();
        }
        let entry = failures.entry(key).or_insert((0, Instant::now()));
        if entry.1.elapsed() >= PAUSE {
            *entry = (0, Instant::now());
        }
        entry.0 += 1;
    }
}

fn short(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_wrong_passwords_are_enough() {
        let failures = Failures::default();
        let peer = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..10 {
            assert!(failures.may_try(peer, "anna"));
            failures.note(peer, "anna", false);
        }
        assert!(!failures.may_try(peer, "anna"));
        assert!(failures.may_try(peer, "berta"));
        assert!(failures.may_try(IpAddr::from([192, 0, 2, 2]), "anna"));
    }

    #[test]
    fn a_right_password_begins_anew() {
        let failures = Failures::default();
        let peer = IpAddr::from([192, 0, 2, 1]);
        for right in [false; 9].into_iter().chain([true]).chain([false; 9]) {
            assert!(failures.may_try(peer, "anna"));
            failures.note(peer, "anna", right);
        }
        assert!(failures.may_try(peer, "anna"));
    }
}
