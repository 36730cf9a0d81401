//! How a call ended.

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

/// How a call ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A 2xx to its INVITE.
    Answered,
    /// 486 or 600.
    Busy,
    /// The caller gave up: 487, or a CANCEL.
    Cancelled,
    /// A 2xx to a request other than INVITE.
    Completed,
    /// 603.
    Declined,
    /// Any other code from 400 on.
    Failed,
    /// No final reply was seen.
    InProgress,
    /// 408 or 480.
    NoAnswer,
    /// 3xx.
    Redirected,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 9] = [
        Self::Answered,
        Self::Busy,
        Self::Cancelled,
        Self::Completed,
        Self::Declined,
        Self::Failed,
        Self::InProgress,
        Self::NoAnswer,
        Self::Redirected,
    ];

    /// The name used by the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Busy => "busy",
            Self::Cancelled => "cancelled",
            Self::Completed => "completed",
            Self::Declined => "declined",
            Self::Failed => "failed",
            Self::InProgress => "in_progress",
            Self::NoAnswer => "no_answer",
            Self::Redirected => "redirected",
        }
    }

    /// What a final status (200 to 699) says. RFC 3261 §21.
    #[must_use]
    pub const fn of(status: u16, invite: bool) -> Self {
        match status {
            ..200 => Self::InProgress,
            200..300 if invite => Self::Answered,
            200..300 => Self::Completed,
            300..400 => Self::Redirected,
            408 | 480 => Self::NoAnswer,
            486 | 600 => Self::Busy,
            487 => Self::Cancelled,
            603 => Self::Declined,
            _ => Self::Failed,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_has_one_name_everywhere() {
        for outcome in Outcome::ALL {
            assert_eq!(serde_json::to_value(outcome).expect("a name"), outcome.as_str());
        }
    }

    #[test]
    fn every_final_status_has_an_outcome_and_only_these_have_one_of_their_own() {
        let named: Vec<_> =
            (300..700).filter(|s| !matches!(Outcome::of(*s, true), Outcome::Failed)).collect();
        assert_eq!(named[..100], (300..400).collect::<Vec<_>>()[..]);
        assert_eq!(named[100..], [408, 480, 486, 487, 600, 603]);
        assert_eq!(Outcome::of(202, false), Outcome::Completed);
        assert_eq!(Outcome::of(200, true), Outcome::Answered);
        assert_eq!(Outcome::of(183, true), Outcome::InProgress);
    }
}
