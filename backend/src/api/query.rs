//! What clients may ask, typed. A name that is not known is refused, so that a misspelt filter never looks like a
//! search that found everything.

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::error::ApiError;
use super::time;
use crate::call::message::{Kind, Transport};
use crate::export::Format;
use crate::search::filter::{AddressFilter, Filter, FilterError, JsonFilter, StatusFilter};
use crate::search::{Page, Window};
use crate::telemetry::clock::now_us;

/// The longest value of a filter, octets.
const MOST_TEXT: usize = 1024;

/// The most items on a page.
const MOST_ITEMS: usize = 1000;

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

/// A search for messages or calls. All conditions must be met.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// Exact correlation id (session id).
    correlation_id: Option<String>,
    /// Exact Call-ID.
    call_id: Option<String>,
    /// Exact user of From; of a call, the caller.
    from_user: Option<String>,
    /// Exact user of To; of a call, the callee.
    to_user: Option<String>,
    /// Request method; for a reply that of its CSeq.
    #[param(example = "INVITE")]
    method: Option<String>,
    /// Status of a reply: a code, or a class such as `4xx`.
    #[param(example = "486")]
    status: Option<String>,
    /// Sender: an address, address:port or network/bits.
    #[param(example = "10.0.0.0/8")]
    src: Option<String>,
    /// Receiver: as `src`.
    dst: Option<String>,
    /// Part of User-Agent or Server, any case.
    user_agent: Option<String>,
    /// Capture agent's id.
    #[param(value_type = Option<u32>)]
    agent_id: Option<String>,
    /// `udp`, `tcp`, `tls`, `sctp`, `ws` or `wss`.
    transport: Option<String>,
    /// `request`, `reply`, `malformed` or `other`, which is an event.
    kind: Option<String>,
    /// HEP protocol type, 0 to 255: 1 SIP, 5 RTCP, 100 log line.
    #[param(value_type = Option<u8>)]
    protocol_type: Option<String>,
    /// `path=value` in the JSON payload of an event.
    #[param(example = "call_id=a84b4c76e66710@192.0.2.1")]
    json: Option<String>,
    /// Captured then or later: RFC 3339, or relative to now such as `-15m`.
    #[param(example = "-15m")]
    since: Option<String>,
    /// Captured then or earlier: as `since`.
    #[param(example = "now")]
    until: Option<String>,
    /// At most so many items, 1 to 1000.
    #[param(value_type = Option<u32>, default = 100, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
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

impl SearchQuery {
    /// The filter and the page that are asked for.
    ///
    /// # Errors
    /// When a value is not one of its parameter.
    pub fn read(self) -> Result<(Filter, Page), ApiError> {
        let window = window(self.since, self.until)?;
        let filter = Filter {
            correlation_id: text("correlation_id", self.correlation_id)?,
            call_id: text("call_id", self.call_id)?,
            from_user: text("from_user", self.from_user)?,
            to_user: text("to_user", self.to_user)?,
            method: text("method", self.method)?,
            status: self.status.map(|s| StatusFilter::parse(&s)).transpose()?,
            src: self.src.map(|s| AddressFilter::parse("src", &s)).transpose()?,
            dst: self.dst.map(|s| AddressFilter::parse("dst", &s)).transpose()?,
            user_agent: text("user_agent", self.user_agent)?,
            agent_id: one_of("agent_id", "a number", self.agent_id, |s| s.parse().ok())?,
            transport: one_of(
                "transport",
                "udp, tcp, tls, sctp, ws or wss",
                self.transport,
                Transport::from_name,
            )?,
            kind: one_of("kind", "request, reply, malformed or other", self.kind, Kind::from_name)?,
            protocol_type: one_of("protocol_type", "0 to 255", self.protocol_type, |s| s.parse().ok())?,
            json: text("json", self.json)?.map(|s| JsonFilter::parse(&s)).transpose()?,
            since_us: window.since_us,
            until_us: window.until_us,
        };
        Ok((filter, page(self.limit, self.cursor)?))
    }
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

/// How many items are asked for; 100 if nothing is said.
fn limit(limit: Option<String>) -> Result<usize, ApiError> {
    let in_range = |s: &str| s.parse().ok().filter(|n| (1..=MOST_ITEMS).contains(n));
    Ok(one_of("limit", "1 to 1000", limit, in_range)?.unwrap_or(100))
}

fn page(items: Option<String>, cursor: Option<String>) -> Result<Page, ApiError> {
    Ok(Page { limit: limit(items)?, cursor: text("cursor", cursor)? })
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
