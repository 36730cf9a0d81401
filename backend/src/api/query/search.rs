//! What a search takes: conditions, each of which may be negated, and the rest of its route's parameters.

use std::collections::HashSet;
use std::time::Duration;

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use super::{limit_of_messages, one_of, page, text, window};
use crate::api::error::ApiError;
use crate::call::message::{Kind, Transport};
use crate::search::filter::{
    AddressFilter, Filter, HeaderFilter, JsonFilter, Octets, StatusFilter, UserFilter,
};
use crate::search::{Page, TIME_LIMIT, Window};

/// A search: conditions, those that must not be met, and what else its route takes.
#[derive(Debug)]
pub struct SearchQuery<Rest> {
    wanted: Conditions,
    not: Conditions,
    rest: Rest,
}

/// The prefix of a parameter whose condition must not be met.
const NOT: &str = "not_";

/// What a search takes besides conditions.
pub trait Rest: DeserializeOwned + IntoParams {
    /// The names of its parameters.
    const NAMES: &'static [&'static str];

    /// The window of time that is asked for.
    ///
    /// # Errors
    /// When an end of it is no time.
    fn window(&mut self) -> Result<Window, ApiError>;
}

/// What a message must meet, each of it.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Conditions {
    /// Exact correlation id (session id).
    correlation_id: Option<String>,
    /// Exact Call-ID.
    call_id: Option<String>,
    /// Tenant.
    tenant: Option<String>,
    /// Exact user of From; of a call, the caller.
    from_user: Option<String>,
    /// What the user of From begins with.
    from_user_prefix: Option<String>,
    /// What the user of From ends with.
    from_user_suffix: Option<String>,
    /// Exact user of To; of a call, the callee.
    to_user: Option<String>,
    /// What the user of To begins with.
    to_user_prefix: Option<String>,
    /// What the user of To ends with.
    to_user_suffix: Option<String>,
    /// Exact user of the Request-URI.
    request_user: Option<String>,
    /// What the user of the Request-URI begins with.
    request_user_prefix: Option<String>,
    /// What the user of the Request-URI ends with.
    request_user_suffix: Option<String>,
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
    /// A header with its whole value: `Name: value`. Any case of the name, and its compact form.
    #[param(example = "X-Tenant: acme")]
    header: Option<String>,
    /// Text that the payload holds, octet for octet.
    contains: Option<String>,
}

/// Which page, which part by time, and how long it may take.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SearchPageQuery {
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
    /// The answer comes after so many milliseconds, with what was found by then and `reached_at`; 100 to 10000.
    #[param(value_type = Option<u32>, default = 10_000, minimum = 100, maximum = 10_000)]
    time_limit_ms: Option<String>,
}

/// Which page of messages, which part by time, and how long it may take.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MessagePageQuery {
    /// Captured then or later: RFC 3339, or relative to now such as `-15m`.
    #[param(example = "-15m")]
    since: Option<String>,
    /// Captured then or earlier: as `since`.
    #[param(example = "now")]
    until: Option<String>,
    /// At most so many messages, 1 to 10000.
    #[param(value_type = Option<u32>, default = 100, minimum = 1, maximum = 10_000)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// The answer comes after so many milliseconds, with what was found by then and `reached_at`; 100 to 10000.
    #[param(value_type = Option<u32>, default = 10_000, minimum = 100, maximum = 10_000)]
    time_limit_ms: Option<String>,
}

impl Conditions {
    fn read(self) -> Result<Filter, ApiError> {
        Ok(Filter {
            correlation_id: text("correlation_id", self.correlation_id)?,
            call_id: text("call_id", self.call_id)?,
            from_user: user("from_user", self.from_user, self.from_user_prefix, self.from_user_suffix)?,
            to_user: user("to_user", self.to_user, self.to_user_prefix, self.to_user_suffix)?,
            request_user: user(
                "request_user",
                self.request_user,
                self.request_user_prefix,
                self.request_user_suffix,
            )?,
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
            header: text("header", self.header)?.map(|s| HeaderFilter::parse(&s)).transpose()?,
            contains: text("contains", self.contains)?.map(|s| Octets::of(&s)),
            tenant: text("tenant", self.tenant)?,
            since_us: None,
            until_us: None,
            not: None,
        })
    }
}

impl<R: Rest> SearchQuery<R> {
    /// The filter that is asked for, and the rest.
    ///
    /// # Errors
    /// When a value is not one of its parameter.
    pub fn read(mut self) -> Result<(Filter, R), ApiError> {
        let window = self.rest.window()?;
        let not = self.not.read()?;
        let filter = Filter {
            since_us: window.since_us,
            until_us: window.until_us,
            not: (not != Filter::default()).then(|| Box::new(not)),
            ..self.wanted.read()?
        };
        Ok((filter, self.rest))
    }
}

impl<'de, R: Rest> Deserialize<'de> for SearchQuery<R> {
    fn deserialize<D: Deserializer<'de>>(query: D) -> Result<Self, D::Error> {
        let (mut wanted, mut not, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        let mut names = HashSet::new();
        for (name, value) in Vec::<(String, String)>::deserialize(query)? {
            if !names.insert(name.clone()) {
                return Err(D::Error::custom(format!("{name}: expected once")));
            }
            if R::NAMES.contains(&name.as_str()) {
                rest.push((name, value));
            } else if let Some(negated) = name.strip_prefix(NOT) {
                not.push((negated.to_owned(), value));
            } else {
                wanted.push((name, value));
            }
        }
        Ok(Self { wanted: named(&wanted)?, not: named(&not)?, rest: named(&rest)? })
    }
}

/// Reads these parameters by their names.
fn named<T: DeserializeOwned, E: Error>(parameters: &[(String, String)]) -> Result<T, E> {
    let query = serde_urlencoded::to_string(parameters).map_err(E::custom)?;
    serde_urlencoded::from_str(&query).map_err(E::custom)
}

impl<R: Rest> IntoParams for SearchQuery<R> {
    fn into_params(of: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let wanted = Conditions::into_params(&of);
        let not: Vec<_> = wanted
            .iter()
            .map(|parameter| {
                let mut not = parameter.clone();
                not.description = Some(format!("Leaves out what meets this condition; see `{}`.", not.name));
                not.name.insert_str(0, NOT);
                not
            })
            .collect();
        wanted.into_iter().chain(not).chain(R::into_params(&of)).collect()
    }
}

impl Rest for SearchPageQuery {
    const NAMES: &'static [&'static str] = &["since", "until", "limit", "cursor", "time_limit_ms"];

    fn window(&mut self) -> Result<Window, ApiError> {
        window(self.since.take(), self.until.take())
    }
}

impl Rest for MessagePageQuery {
    const NAMES: &'static [&'static str] = SearchPageQuery::NAMES;

    fn window(&mut self) -> Result<Window, ApiError> {
        window(self.since.take(), self.until.take())
    }
}

impl MessagePageQuery {
    /// The page that is asked for.
    ///
    /// # Errors
    /// When the limit is out of its range.
    pub fn read(self) -> Result<Page, ApiError> {
        Ok(Page {
            cursor: text("cursor", self.cursor)?,
            limit: limit_of_messages(self.limit)?,
            time_limit: time_limit(self.time_limit_ms)?,
        })
    }
}

impl SearchPageQuery {
    /// The page that is asked for.
    ///
    /// # Errors
    /// When a value is not one of its parameter.
    pub fn read(self) -> Result<Page, ApiError> {
        Ok(Page { time_limit: time_limit(self.time_limit_ms)?, ..page(self.limit, self.cursor)? })
    }
}

/// How long a search may take; as long as any may if nothing is said.
fn time_limit(milliseconds: Option<String>) -> Result<Duration, ApiError> {
    let in_range = |s: &str| {
        let limit = Duration::from_millis(s.parse().ok()?);
        (Duration::from_millis(100)..=TIME_LIMIT).contains(&limit).then_some(limit)
    };
    Ok(one_of("time_limit_ms", "100 to 10000", milliseconds, in_range)?.unwrap_or(TIME_LIMIT))
}

/// A user: whole, or its beginning or end.
fn user(
    field: &'static str,
    exact: Option<String>,
    prefix: Option<String>,
    suffix: Option<String>,
) -> Result<Option<UserFilter>, ApiError> {
    let (exact, prefix, suffix) = (text(field, exact)?, text(field, prefix)?, text(field, suffix)?);
    match (exact, prefix, suffix) {
        (None, None, None) => Ok(None),
        (Some(user), None, None) => Ok(Some(UserFilter::Exact(user))),
        (None, Some(prefix), None) => Ok(Some(UserFilter::Prefix(prefix))),
        (None, None, Some(suffix)) => Ok(Some(UserFilter::Suffix(suffix))),
        _ => Err(ApiError::BadRequest(format!(
            "{field}: expected one of {field}, {field}_prefix and {field}_suffix"
        ))),
    }
}
