//! What every answer of either listener passes: headers that bind browsers, and bounds on size, time and failure.

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use super::error::ApiError;

/// The largest body of a request, octets: all of them are small JSON.
const MOST_BODY: usize = 64 * 1024;

/// The longest that a request may take.
const TIME_LIMIT: Duration = Duration::from_secs(60);

const X_CONTENT_TYPE_OPTIONS: HeaderName = header::X_CONTENT_TYPE_OPTIONS;

/// The Content-Security-Policy of our pages: files of our own and nothing inline, framed by these origins only.
#[must_use]
pub fn policy(frame_ancestors: &[String]) -> String {
    let ancestors = if frame_ancestors.is_empty() { "'none'".to_owned() } else { frame_ancestors.join(" ") };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; \
         font-src 'self'; frame-ancestors {ancestors}; base-uri 'none'; form-action 'self'"
    )
}

/// Lays bounds and headers around all routes.
pub fn protect(router: Router, policy: String, referrer: &'static str) -> Router {
    let headers = Headers {
        // Configuration admits only what fits into a header.
        policy: HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'")),
        referrer: HeaderValue::from_static(referrer),
    };
    router
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(middleware::from_fn(in_time))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn_with_state(headers, add_headers))
}

#[derive(Clone)]
struct Headers {
    policy: HeaderValue,
    referrer: HeaderValue,
}

async fn add_headers(
    axum::extract::State(headers): axum::extract::State<Headers>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    let all = [
        (header::CONTENT_SECURITY_POLICY, headers.policy),
        (header::REFERRER_POLICY, headers.referrer),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
        (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
        // What a handler says about caching stands; else nothing is kept, least of all a customer's call.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    for (name, value) in all {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(TIME_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            tracing::warn!(seconds = TIME_LIMIT.as_secs(), "a request took too long");
            ApiError::StoreUnavailable.into_response()
        }
    }
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(message, "a request panicked");
    ApiError::Internal.into_response()
}
