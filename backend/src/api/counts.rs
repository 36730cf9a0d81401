//! `/api/v1/counts`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiState;
use super::error::{ApiError, ErrorBody};
use super::query::{CountsQuery, Params, SearchQuery};
use super::time::rfc3339;
use crate::search::counts;

/// How many messages.
#[derive(Debug, Serialize, ToSchema)]
pub struct Counts {
    /// From then on.
    pub since: String,
    /// Until then.
    pub until: String,
    /// How long a bucket of time is, seconds.
    pub interval_seconds: i64,
    /// In all.
    pub total: Count,
    /// By time, oldest first; a bucket without a message is left out.
    pub buckets: Vec<Bucket>,
    /// Whether there may be more: the time limit was reached, or a part of the store is away or damaged.
    pub partial: bool,
    /// Where the time limit was reached: all that was captured after this is counted.
    #[schema(required)]
    pub reached_at: Option<String>,
}

/// Messages in a bucket of time.
#[derive(Debug, Serialize, ToSchema)]
pub struct Bucket {
    /// When it begins: a multiple of the interval.
    pub at: String,
    /// What is in it.
    #[serde(flatten)]
    pub count: Count,
}

/// How many messages, and of which values.
#[derive(Debug, Serialize, ToSchema)]
pub struct Count {
    /// How many.
    pub messages: u64,
    /// How many a second.
    pub per_second: f64,
    /// How many of each value, most first.
    pub values: Vec<ValueCount>,
    /// How many do not say.
    pub without: u64,
    /// How many are of values beyond the first 10,000 that were met.
    pub others: u64,
}

/// How many messages of a value.
#[derive(Debug, Serialize, ToSchema)]
pub struct ValueCount {
    /// The value.
    pub value: String,
    /// How many.
    pub messages: u64,
}

/// How many messages meet all conditions: by time and, if wanted, by a fact.
#[utoipa::path(
    get,
    path = "/api/v1/counts",
    operation_id = "count_messages",
    tag = "messages",
    params(SearchQuery<CountsQuery>),
    responses(
        (status = 200, body = Counts),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 503, body = ErrorBody)
    )
)]
pub async fn show(
    State(state): State<Arc<ApiState>>,
    Params(query): Params<SearchQuery<CountsQuery>>,
) -> Result<Json<Counts>, ApiError> {
    let (filter, rest) = query.read()?;
    let (since_us, until_us, counting) = rest.read()?;
    let counts = state.search.counts(&filter, counting).await?;
    let interval_us = counting.interval_us;
    Ok(Json(Counts {
        since: rfc3339(since_us),
        until: rfc3339(until_us),
        interval_seconds: interval_us / 1_000_000,
        total: Count::of(counts.total, until_us.saturating_sub(since_us)),
        buckets: counts
            .buckets
            .into_iter()
            .map(|(at_us, count)| {
                // The first and the last may reach beyond the range.
                let within = (at_us + interval_us).min(until_us).saturating_sub(at_us.max(since_us));
                Bucket { at: rfc3339(at_us), count: Count::of(count, within) }
            })
            .collect(),
        partial: counts.partial,
        reached_at: counts.reached_us.map(rfc3339),
    }))
}

impl Count {
    /// Over so many µs.
    fn of(count: counts::Count, duration_us: i64) -> Self {
        let counts::Count { messages, by_value, without, others } = count;
        let mut values: Vec<_> =
            by_value.into_iter().map(|(value, messages)| ValueCount { value, messages }).collect();
        values.sort_by(|a, b| b.messages.cmp(&a.messages).then_with(|| a.value.cmp(&b.value)));
        Self { messages, per_second: per_second(messages, duration_us), values, without, others }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate, to be shown")]
fn per_second(messages: u64, duration_us: i64) -> f64 {
    messages as f64 * 1e6 / duration_us.max(1) as f64
}
