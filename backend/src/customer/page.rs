//! The page that a customer's browser shows, and its files.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use super::{CustomerState, Opened, refusal};
use crate::api::error::ApiError;
use crate::assets;

/// The page. It is the same for all links: what it shows, it asks for.
pub(super) async fn page(opened: Result<Opened, ApiError>) -> Response {
    match opened {
        Ok(_) => assets::page("customer"),
        Err(error) => refused(&error),
    }
}

/// A file of the page.
pub(super) async fn asset(
    State(_): State<CustomerState>,
    path: Option<Path<String>>,
    headers: HeaderMap,
) -> Response {
    let file = path.and_then(|Path(path)| assets::file(&format!("assets/customer/{path}"), &headers));
    file.unwrap_or_else(|| refusal().into_response())
}

/// A refusal, for a person to read: they got this link from someone who can send another.
fn refused(error: &ApiError) -> Response {
    let (status, _) = error.code();
    let (title, advice) = match error {
        ApiError::LinkExpired => (
            "This link has expired",
            "Links open for a limited time. Ask whoever sent it to you for a new one.",
        ),
        ApiError::LinkRevoked => {
            ("This link has been revoked", "Whoever sent it to you has ended it. Ask them for a new one.")
        }
        ApiError::LinkInvalid => (
            "This link does not work",
            "It may be incomplete. Copy it whole, or ask whoever sent it to you for a new one.",
        ),
        _ => ("This page cannot be shown now", "Please try again in a few minutes."),
    };
    let status = if status.is_client_error() { StatusCode::FORBIDDEN } else { status };
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"robots\" content=\"noindex\">\n\
         <title>{title}</title>\n\
         <link rel=\"stylesheet\" href=\"/assets/customer/refused.css\">\n</head>\n<body>\n<h1>{title}</h1>\n<p>{advice}</p>\n</body>\n</html>\n"
    );
    (status, [(header::CACHE_CONTROL, "no-store")], Html(page)).into_response()
}
