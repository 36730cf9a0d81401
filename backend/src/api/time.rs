//! Times as clients read and write them: RFC 3339 in UTC with microseconds, and, in questions, relative to now.

use std::fmt::{self, Display, Formatter};

use jiff::Timestamp;

use crate::search::filter::FilterError;

/// `2026-11-21T10:00:00.123456Z` for µs since the epoch.
#[must_use]
pub fn rfc3339(time_us: i64) -> String {
    Rfc3339(time_us).to_string()
}

/// A time, µs since the epoch, that is written as [`rfc3339`] does.
#[derive(Clone, Copy, Debug)]
pub struct Rfc3339(pub i64);

impl Display for Rfc3339 {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let nearest = if self.0 < 0 { Timestamp::MIN } else { Timestamp::MAX };
        write!(f, "{:.6}", Timestamp::from_microsecond(self.0).unwrap_or(nearest))
    }
}

/// Reads RFC 3339, `now`, or a time before now such as `-15m` (s, m, h, d, w), into µs since the epoch.
///
/// # Errors
/// When it is none of these.
pub fn parse(field: &'static str, text: &str, now_us: i64) -> Result<i64, FilterError> {
    let bad = || FilterError {
        field,
        expected: "RFC 3339 such as 2026-11-21T10:00:00Z, or a time before now such as -15m, -2h, -7d, or now",
        found: text.chars().take(64).collect(),
    };
    if text == "now" {
        return Ok(now_us);
    }
    if let Some(ago) = text.strip_prefix('-')
        && let Some(seconds) = seconds(ago)
    {
        return seconds.checked_mul(1_000_000).and_then(|us| now_us.checked_sub(us)).ok_or_else(bad);
    }
    text.parse::<Timestamp>().map(Timestamp::as_microsecond).map_err(|_| bad())
}

fn seconds(text: &str) -> Option<i64> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    let number = text.get(..text.len() - 1).filter(|n| n.bytes().all(|b| b.is_ascii_digit()))?;
    number.parse::<i64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_US: i64 = 1_795_255_200_123_456;

    #[test]
    fn times_are_written_with_microseconds_and_read_back() {
        assert_eq!(rfc3339(NOW_US), "2026-11-21T10:00:00.123456Z");
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(parse("since", &rfc3339(NOW_US), 0), Ok(NOW_US));
        assert_eq!(parse("since", "2026-11-21T11:00:00.123456+01:00", 0), Ok(NOW_US));
        assert!(rfc3339(i64::MAX).starts_with("9999-") && rfc3339(i64::MIN).starts_with("-009999-"));
    }

    #[test]
    fn relative_times_are_before_now() {
        for (text, seconds) in [("now", 0), ("-15m", 900), ("-2h", 7200), ("-7d", 604_800), ("-1w", 604_800)]
        {
            assert_eq!(parse("since", text, NOW_US), Ok(NOW_US - seconds * 1_000_000), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let overflow = "-9223372036854775807w";
        for text in ["", "-", "-m", "yesterday", "-15", "-1.5h", "+1h", "-5µ", "2026-11-21", overflow, "--1h"]
        {
            assert!(parse("since", text, NOW_US).is_err(), "{text}");
        }
    }
}
