//! Who may ask. ADR 0006.
//!
//! As long as there is no user and no token, this machine may, and nobody else: the connection must come from loopback,
//! be addressed to a loopback name (so that no page elsewhere gets in by pointing its own name to 127.0.0.1), and bear
//! no mark of having been passed on. From then on everybody needs an API token, a name and password, or a login.
//!
//! A request that changes something must not come from another origin's page, whoever sends it.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::ApiState;
use super::error::ApiError;

/// The cookie that holds a login session's key.
pub const COOKIE: &str = "siplens_session";

const NO_USER_YET: &str =
    "no user exists yet, so only this machine is answered; to make one: siplens user add NAME";

const NOT_KNOWN: &str = "log in, or send an API token: Authorization: Bearer TOKEN";

/// Who asks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Caller {
    /// Somebody on this machine, while there is no user.
    Anybody,
    /// The token or user of this name.
    Named(String),
}

impl Caller {
    /// The name, if there is one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Anybody => None,
            Self::Named(name) => Some(name),
        }
    }
}

/// Where a request's connection comes from.
pub struct Peer(pub IpAddr);

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(peer(parts)))
    }
}

/// Lets a request pass whose sender may ask, with its [`Caller`].
pub async fn require(State(state): State<Arc<ApiState>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match identify(&state, &parts).await {
        Ok(caller) => {
            parts.extensions.insert(caller);
            next.run(Request::from_parts(parts, body)).await
        }
        // Metrics say what is the matter also while nobody can be known; to this machine, since nobody else can be let in.
        Err(ApiError::StoreUnavailable) if parts.uri.path() == "/metrics" && is_local(&parts) => {
            next.run(Request::from_parts(parts, body)).await
        }
        Err(error) => error.into_response(),
    }
}

/// Lets a request pass unless another origin's page sent it to change something.
pub async fn same_origin(State(state): State<Arc<ApiState>>, request: Request, next: Next) -> Response {
    let harmless = matches!(*request.method(), Method::GET | Method::HEAD);
    if harmless || is_same_origin(request.headers(), &state.public_url) {
        return next.run(request).await;
    }
    ApiError::Forbidden("this request comes from another site's page".into()).into_response()
}

/// Who sent a request.
///
/// # Errors
/// [`ApiError::Unauthorized`] where nobody is known.
pub async fn identify(state: &ApiState, parts: &Parts) -> Result<Caller, ApiError> {
    if !state.accounts.exist().await? {
        return if is_local(parts) {
            Ok(Caller::Anybody)
        } else {
            Err(ApiError::Unauthorized(NO_USER_YET.into()))
        };
    }
    let unknown = || ApiError::Unauthorized(NOT_KNOWN.into());
    if let Some(credentials) = parts.headers.get(header::AUTHORIZATION) {
        let (scheme, value) =
            credentials.to_str().ok().and_then(|c| c.split_once(' ')).ok_or_else(unknown)?;
        let name = match scheme.to_ascii_lowercase().as_str() {
            "bearer" => state.accounts.token_name(value.trim()).await?,
            "basic" => {
                let (name, password) = basic(value).ok_or_else(unknown)?;
                state.accounts.check_password(peer(parts), &name, &password).await?.then_some(name)
            }
            _ => None,
        };
        return name.map(Caller::Named).ok_or_else(unknown);
    }
    let key = session_key(&parts.headers).ok_or_else(unknown)?;
    state.accounts.session_user(&key).await?.map(Caller::Named).ok_or_else(unknown)
}

/// The login session's key that a browser sent.
#[must_use]
pub fn session_key(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, key)| key.to_owned())
}

/// Where the connection comes from; unspecified where that isn't known, which is never loopback.
fn peer(parts: &Parts) -> IpAddr {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map_or(IpAddr::from([0, 0, 0, 0]), |ConnectInfo(peer)| peer.ip().to_canonical())
}

fn basic(value: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    text.split_once(':').map(|(name, password)| (name.to_owned(), password.to_owned()))
}

fn is_local(parts: &Parts) -> bool {
    const PASSED_ON: [&str; 6] =
        ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via"];
    let passed_on = PASSED_ON.iter().any(|name| parts.headers.contains_key(HeaderName::from_static(name)));
    peer(parts).is_loopback() && !passed_on && host(parts).is_some_and(|host| is_loopback_name(&host))
}

/// What the request is addressed to; `None` where that is not said exactly once.
fn host(parts: &Parts) -> Option<String> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok()?.to_owned(),
        (None, _) => parts.uri.authority()?.to_string(),
        _ => return None,
    };
    Some(host)
}

/// Whether a host, with or without a port, is this machine by name or address.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((ip, port)) if is_port_suffix(port) => ip,
            _ => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            Some(_) => return false,
            None => host,
        },
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

fn is_port_suffix(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a request comes from our own page, or from no page at all: only browsers send Origin, and they always do with
/// what changes something.
fn is_same_origin(headers: &HeaderMap, public_url: &str) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
        return matches!(site, None | Some(b"same-origin" | b"none"));
    };
    let Ok(origin) = origin.to_str() else { return false };
    if !public_url.is_empty() && origin.eq_ignore_ascii_case(public_url) {
        return true;
    }
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for name in ["localhost", "LOCALHOST:9080", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:9080"] {
            assert!(is_loopback_name(name), "{name}");
        }
        for name in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:127",
            "10.0.0.1",
            "[::1]evil",
            "[::1",
            "127.0.0.1:80:80",
            "localhost:evil",
            "user@localhost",
            "0.0.0.0",
            "2130706433",
        ] {
            assert!(!is_loopback_name(name), "{name}");
        }
    }

    #[test]
    fn another_origins_page_changes_nothing() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs
                .iter()
                .map(|(n, v)| (HeaderName::from_static(n), v.parse().expect("a value")))
                .collect::<HeaderMap>()
        };
        let same = |pairs: &[(&'static str, &'static str)]| {
            is_same_origin(&headers(pairs), "https://siplens.example")
        };
        let host = ("host", "127.0.0.1:9080");
        assert!(same(&[host]), "no browser");
        assert!(same(&[host, ("origin", "http://127.0.0.1:9080")]));
        assert!(same(&[host, ("origin", "https://siplens.example")]));
        assert!(!same(&[host, ("origin", "http://127.0.0.1:9081")]));
        assert!(!same(&[host, ("origin", "https://siplens.example.evil.example")]));
        assert!(!same(&[host, ("origin", "null")]));
        assert!(!same(&[host, ("sec-fetch-site", "cross-site")]));
        assert!(!same(&[("origin", "http://127.0.0.1:9080")]), "no host");
    }
}
