//! What clients may ask, typed. A name that is not known is refused, so that a misspelt filter never looks like a
//! search that found everything.

mod counts;
mod search;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

pub use counts::CountsQuery;
pub use search::{MessagePageQuery, SearchPageQuery, SearchQuery};

use super::error::ApiError;
use super::time;
use crate::export::Format;
use crate::search::filter::FilterError;
use crate::search::{Page, Window};
use crate::telemetry::clock::now_us;

/// The longest value of a filter, octets.
const MOST_TEXT: usize = 1024;

/// The most items on a page.
const MOST_ITEMS: usize = 1000;

/// Of messages, at most so many are on a page.
const MOST_MESSAGES: usize = 10_000;

/// The parameters of a request's query.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(QueryRejection::FailedToDeserializeQueryString(error)) => Err(ApiError::BadRequest(
                std::error::Error::source(&error)
                    .map_or_else(|| "the query cannot be read".to_owned(), ToString::to_string),
            )),
            Err(_) => Err(ApiError::BadRequest("the query cannot be read".into())),
        }
    }
}

/// Which part of a call.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CallQuery {
    /// Only messages with this correlation id.
    correlation_id: Option<String>,
    /// Captured then or later: RFC 3339, or relative to now such as `-15m`.
    since: Option<String>,
    /// Captured then or earlier.
    until: Option<String>,
}

/// Which part of a call, and as what.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// `pcap`, `text` or `json`.
    format: String,
    /// Only messages with this correlation id.
    correlation_id: Option<String>,
    /// Captured then or later: RFC 3339, or relative to now such as `-15m`.
    since: Option<String>,
    /// Captured then or earlier.
    until: Option<String>,
}

/// Which part, by time.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WindowQuery {
    /// Captured then or later: RFC 3339, or relative to now such as `-15m`.
    since: Option<String>,
    /// Captured then or earlier.
    until: Option<String>,
}

/// Which page, and which part by time.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WindowPageQuery {
    /// Captured then or later: RFC 3339, or relative to now such as `-15m`.
    since: Option<String>,
    /// Captured then or earlier.
    until: Option<String>,
    /// At most so many items, 1 to 1000.
    #[param(value_type = Option<u32>, default = 100, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// At most so many items, 1 to 1000.
    #[param(value_type = Option<u32>, default = 100, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// How many.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LimitQuery {
    /// At most so many items, 1 to 1000.
    #[param(value_type = Option<u32>, default = 100, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

impl CallQuery {
    /// The correlation id and the window that are asked for.
    ///
    /// # Errors
    /// When a value is not one of its parameter.
    pub fn read(self) -> Result<(Option<String>, Window), ApiError> {
        Ok((text("correlation_id", self.correlation_id)?, window(self.since, self.until)?))
    }
}

impl ExportQuery {
    /// The format, the correlation id and the window that are asked for.
    ///
    /// # Errors
    /// When a value is not one of its parameter.
    pub fn read(self) -> Result<(Format, Option<String>, Window), ApiError> {
        let correlation_id = text("correlation_id", self.correlation_id)?;
        Ok((Format::parse(&self.format)?, correlation_id, window(self.since, self.until)?))
    }
}

impl WindowQuery {
    /// The window that is asked for.
    ///
    /// # Errors
    /// When a value is no time.
    pub fn read(self) -> Result<Window, ApiError> {
        window(self.since, self.until)
    }
}

impl WindowPageQuery {
    /// The window and the page that are asked for.
    ///
    /// # Errors
    /// When a value is not one of its parameter.
    pub fn read(self) -> Result<(Window, Page), ApiError> {
        Ok((window(self.since, self.until)?, page(self.limit, self.cursor)?))
    }
}

impl PageQuery {
    /// The page that is asked for.
    ///
    /// # Errors
    /// When the limit is out of its range.
    pub fn read(self) -> Result<Page, ApiError> {
        page(self.limit, self.cursor)
    }
}

impl LimitQuery {
    /// How many items are asked for.
    ///
    /// # Errors
    /// When the limit is out of its range.
    pub fn read(self) -> Result<usize, ApiError> {
        limit(self.limit)
    }
}

impl From<FilterError> for ApiError {
    fn from(error: FilterError) -> Self {
        Self::BadRequest(error.to_string())
    }
}

/// Reads both ends of a window of time.
///
/// # Errors
/// When one is no time, or they are the wrong way round.
pub fn window(since: Option<String>, until: Option<String>) -> Result<Window, ApiError> {
    let now_us = now_us();
    let since_us = since.map(|s| time::parse("since", &s, now_us)).transpose()?;
    let until_us = until.map(|s| time::parse("until", &s, now_us)).transpose()?;
    if let (Some(since_us), Some(until_us)) = (since_us, until_us)
        && since_us > until_us
    {
        return Err(ApiError::BadRequest("since: expected a time before until".into()));
    }
    Ok(Window { since_us, until_us })
}

/// A value that is compared as it is.
///
/// # Errors
/// When it is empty, far too long, or no text that SIP or HEP could carry.
pub fn text(field: &'static str, value: Option<String>) -> Result<Option<String>, ApiError> {
    let usable = |s: &str| !s.is_empty() && s.len() <= MOST_TEXT && !s.contains('\0');
    if value.as_deref().is_none_or(usable) {
        return Ok(value);
    }
    Err(ApiError::BadRequest(format!("{field}: expected 1 to {MOST_TEXT} characters of text")))
}

/// How many messages are asked for; 100 if nothing is said.
fn limit_of_messages(limit: Option<String>) -> Result<usize, ApiError> {
    let in_range = |s: &str| s.parse().ok().filter(|n| (1..=MOST_MESSAGES).contains(n));
    Ok(one_of("limit", "1 to 10000", limit, in_range)?.unwrap_or(100))
}

/// How many items are asked for; 100 if nothing is said.
fn limit(limit: Option<String>) -> Result<usize, ApiError> {
    let in_range = |s: &str| s.parse().ok().filter(|n| (1..=MOST_ITEMS).contains(n));
    Ok(one_of("limit", "1 to 1000", limit, in_range)?.unwrap_or(100))
}

fn page(items: Option<String>, cursor: Option<String>) -> Result<Page, ApiError> {
    Ok(Page { limit: limit(items)?, cursor: text("cursor", cursor)?, ..Page::default() })
}

fn one_of<T>(
    field: &'static str,
    expected: &'static str,
    value: Option<String>,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ApiError> {
    let Some(text) = value else { return Ok(None) };
    let bad = || FilterError { field, expected, found: text.chars().take(64).collect() };
    Ok(Some(read(&text).ok_or_else(bad)?))
}
