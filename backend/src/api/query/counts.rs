//! What is counted, and when.

use serde::Deserialize;
use utoipa::IntoParams;

use super::search::Rest;
use super::{one_of, window};
use crate::api::error::ApiError;
use crate::search::Window;
use crate::search::counts::{Counting, Fact};
use crate::telemetry::clock::now_us;

/// The most buckets of time in one answer.
const MOST_BUCKETS: i64 = 2000;

/// Which part by time, and what is counted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CountsQuery {
    /// Captured then or later: RFC 3339, or relative to now such as `-15m`; an hour before `until` if not given.
    #[param(example = "-15m")]
    since: Option<String>,
    /// Captured then or earlier: as `since`; now if not given.
    #[param(example = "now")]
    until: Option<String>,
    /// A fact to count by: `agent_id`, `dst`, `from_user`, `kind`, `method`, `protocol_type`, `request_user`, `src`, `status`,
    /// `status_class`, `tenant`, `to_user`, `transport` or `user_agent`.
    #[param(example = "method")]
    by: Option<String>,
    /// How long a bucket of time is, seconds.
    #[param(value_type = Option<u32>, default = 60, minimum = 1)]
    interval_seconds: Option<String>,
    #[serde(skip)]
    #[param(ignore)]
    read: Window,
}

impl Rest for CountsQuery {
    const NAMES: &'static [&'static str] = &["since", "until", "by", "interval_seconds"];

    fn window(&mut self) -> Result<Window, ApiError> {
        let until = self.until.take().unwrap_or_else(|| "now".into());
        self.read = window(self.since.take(), Some(until))?;
        let until_us = self.read.until_us.unwrap_or_else(now_us);
        self.read.since_us.get_or_insert(until_us.saturating_sub(3_600_000_000));
        Ok(self.read)
    }
}

impl CountsQuery {
    /// The window, and what is counted in it.
    ///
    /// # Errors
    /// When a value is not one of its parameter.
    pub fn read(self) -> Result<(i64, i64, Counting), ApiError> {
        let by = one_of("by", "one of the facts in the description", self.by, Fact::from_name)?;
        let seconds = |s: &str| s.parse::<u32>().ok().filter(|seconds| *seconds > 0);
        let interval = one_of("interval_seconds", "a number of seconds", self.interval_seconds, seconds)?;
        let interval_us = i64::from(interval.unwrap_or(60)) * 1_000_000;
        let (since_us, until_us) =
            (self.read.since_us.unwrap_or(0), self.read.until_us.unwrap_or_else(now_us));
        if (until_us.saturating_sub(since_us)) / interval_us >= MOST_BUCKETS {
            return Err(ApiError::BadRequest(format!(
                "interval_seconds: expected so many that the time range has at most {MOST_BUCKETS} of them"
            )));
        }
        Ok((since_us, until_us, Counting { by, interval_us }))
    }
}
