//! The time of day, at the price of the system's own clock.

/// Seconds and microseconds since 1970; a clock before 1970 or after 2106 gives the nearest time that fits.
///
/// The same as from `std::time::SystemTime`, without its arithmetic: that costs more instructions than the clock.
#[must_use]
#[inline]
pub fn wall_clock() -> (u32, u32) {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists everywhere, and `time` is ours; should it fail, it stays 1970.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time) };
    let seconds = time.tv_sec.clamp(0, u32::MAX.into());
    // Both were just brought into the range.
    (seconds as u32, time.tv_nsec as u32 / 1000)
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn it_is_the_time_that_the_standard_library_tells() {
        let standard = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
        let before = standard();
        let (seconds, microseconds) = wall_clock();
        let ours = u128::from(seconds) * 1_000_000 + u128::from(microseconds);
        assert!((before..=standard()).contains(&ours), "{ours} is not just after {before}");
    }
}
