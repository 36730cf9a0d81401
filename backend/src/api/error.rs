//! The one shape of errors: `{"error":{"code":"…","message":"…"}}`. Codes are stable and listed in `docs/api.md`. What
//! went wrong inside is logged here, once, and never sent.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::accounts::AccountsError;
use crate::customer::LinkError;
use crate::search::SearchError;
use crate::search::scope::ScopeError;
use crate::store::StoreError;

/// Why a request is refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The request is not one that this API knows.
    #[error("{0}")]
    BadRequest(String),
    /// As many searches are answered as the backend has room for.
    #[error("too many searches at once; try again in a few seconds")]
    Busy,
    /// Who asks is known, but must not do this.
    #[error("{0}")]
    Forbidden(String),
    /// Something failed inside.
    #[error("something went wrong on the server; its log says what")]
    Internal,
    /// The link's time is over.
    #[error("this link has expired")]
    LinkExpired,
    /// No link of ours, or changed on its way.
    #[error("this link is not valid")]
    LinkInvalid,
    /// Its maker ended it.
    #[error("this link has been revoked")]
    LinkRevoked,
    /// The backend cannot do its work.
    #[error("{0}")]
    NotReady(String),
    /// The path is there, but not for this method.
    #[error("this path does not take this method")]
    MethodNotAllowed,
    /// No such thing.
    #[error("{0}")]
    NotFound(String),
    /// The link is right, but does not show what was asked for.
    #[error("this link does not show what was asked for")]
    OutsideLink,
    /// The store, or the database of accounts, is away or too slow.
    #[error("the store does not answer; try again later")]
    StoreUnavailable,
    /// Too many failed logins.
    #[error("too many failed logins; try again in a minute")]
    TooManyRequests,
    /// Who asks is not known.
    #[error("{0}")]
    Unauthorized(String),
}

/// An error as it is sent.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorDetail {
    /// Stable, for programs.
    #[schema(example = "bad_request")]
    code: String,
    /// For people.
    #[schema(example = "limit: expected 1 to 1000, found \"0\"")]
    message: String,
}

impl ApiError {
    /// The HTTP status, and the code that programs can rely on.
    #[must_use]
    pub const fn code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad_request"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            Self::LinkExpired => (StatusCode::FORBIDDEN, "link_expired"),
            Self::LinkInvalid => (StatusCode::FORBIDDEN, "link_invalid"),
            Self::LinkRevoked => (StatusCode::FORBIDDEN, "link_revoked"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "bad_request"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            Self::OutsideLink => (StatusCode::FORBIDDEN, "outside_link"),
            Self::NotReady(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
            Self::StoreUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable"),
            Self::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "too_many_requests"),
            Self::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "unauthorized"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.code();
        let error = ErrorDetail { code: code.to_owned(), message: self.to_string() };
        let mut response = (status, Json(ErrorBody { error })).into_response();
        if status == StatusCode::UNAUTHORIZED {
            // Not Basic, though it is taken: a browser would open its own window over the login page.
            let challenge = HeaderValue::from_static("Bearer realm=\"siplens\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if matches!(self, Self::Busy) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("3"));
        }
        response
    }
}

impl From<SearchError> for ApiError {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Cursor => Self::BadRequest(error.to_string()),
            SearchError::Store(StoreError::Unavailable(_) | StoreError::Away(_)) => {
                tracing::error!(%error, "a search failed");
                Self::StoreUnavailable
            }
            SearchError::Store(_) => {
                tracing::error!(%error, "a search failed");
                Self::Internal
            }
        }
    }
}

impl From<ScopeError> for ApiError {
    fn from(error: ScopeError) -> Self {
        match error {
            ScopeError::Outside => Self::OutsideLink,
            ScopeError::Search(error) => error.into(),
        }
    }
}

impl From<AccountsError> for ApiError {
    fn from(error: AccountsError) -> Self {
        if matches!(error, AccountsError::Failures) {
            return Self::TooManyRequests;
        }
        tracing::error!(%error, "accounts failed");
        match error {
            AccountsError::Database(_) => Self::StoreUnavailable,
            _ => Self::Internal,
        }
    }
}

impl From<LinkError> for ApiError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Accounts(error) => error.into(),
            LinkError::Expired => Self::LinkExpired,
            LinkError::Invalid => Self::LinkInvalid,
            LinkError::Cursor | LinkError::Life { .. } => Self::BadRequest(error.to_string()),
            LinkError::Revoked => Self::LinkRevoked,
        }
    }
}
