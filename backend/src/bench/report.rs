//! What came out, as a table.

use std::time::Duration;

use anyhow::Result;

use crate::cli::print;

/// How times are spread.
#[derive(Clone, Debug)]
pub struct Spread(Vec<Duration>);

impl Spread {
    /// Of these.
    #[must_use]
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The least time that `share` of them, 0 to 1, do not exceed. Zero if there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let place = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(place.clamp(1, self.0.len().max(1)) - 1).copied().unwrap_or_default()
    }

    /// As three columns of milliseconds.
    #[must_use]
    pub fn columns(&self) -> String {
        let ms = |share: f64| self.quantile(share).as_secs_f64() * 1000.0;
        format!("{:>10.2} {:>10.2} {:>10.2}", ms(0.5), ms(0.99), ms(1.0))
    }
}

/// Prints a figure with its unit.
///
/// # Errors
/// When standard output takes nothing.
pub fn figure(name: &str, value: impl std::fmt::Display, unit: &str) -> Result<()> {
    print(&format!("{name:<50} {value:>12} {unit}"))
}

/// Prints a figure with two digits behind the point.
///
/// # Errors
/// As [`figure`].
pub fn fraction(name: &str, value: f64, unit: &str) -> Result<()> {
    figure(name, format!("{value:.2}"), unit)
}

/// Microseconds for each of so many.
#[must_use]
pub fn each_us(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_times_there_are() {
        let spread = Spread::of((1..=100).rev().map(Duration::from_millis).collect());
        let ms = |share| spread.quantile(share).as_millis();
        assert_eq!((ms(0.5), ms(0.99), ms(1.0), ms(0.0)), (50, 99, 100, 1));
        assert_eq!(Spread::of(Vec::new()).quantile(0.5), Duration::ZERO);
    }
}
