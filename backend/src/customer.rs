//! What a customer sees: one call or one session, by a signed link, on a listener of its own. ADR 0005.
//!
//! Every route goes through `Opened`, which holds what one verified link opens and nothing more; a handler has no
//! other way to a message. What is not a route answers 403, whatever it is.

mod links;
mod page;
pub mod token;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, RawPathParams, Request};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::accounts::LinkRow;
use crate::api::error::ApiError;
use crate::api::guard;
use crate::api::turns::{self, Turns};
use crate::search::Search;
use crate::search::scope::Scoped;

pub use links::{LinkError, Links, NewLink};

/// What the customers' listener needs.
#[derive(Clone)]
pub struct CustomerState {
    inner: Arc<Inner>,
}

struct Inner {
    search: Search,
    links: Links,
    /// The page's Content-Security-Policy.
    policy: String,
    turns: Turns,
}

/// What one link opens.
pub(crate) struct Opened {
    link: LinkRow,
    scoped: Scoped,
}

impl CustomerState {
    /// `frame_ancestors` are the origins that may show a link in a frame.
    #[must_use]
    pub fn new(search: Search, links: Links, frame_ancestors: &[String], turns: Turns) -> Self {
        let policy = guard::policy(frame_ancestors);
        Self { inner: Arc::new(Inner { search, links, policy, turns }) }
    }

    /// Checks a token, as it stands in a path, and opens what it shows.
    async fn open(&self, token: &str) -> Result<Opened, LinkError> {
        let link = self.inner.links.open_token(token).await?;
        let scoped = Scoped::new(self.inner.search.clone(), link.scope.clone());
        Ok(Opened { link, scoped })
    }
}

impl FromRequestParts<CustomerState> for Opened {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &CustomerState) -> Result<Self, ApiError> {
        let params =
            RawPathParams::from_request_parts(parts, state).await.map_err(|_| ApiError::LinkInvalid)?;
        let token = params.iter().find_map(|(name, value)| (name == "token").then_some(value));
        Ok(state.open(token.ok_or(ApiError::LinkInvalid)?).await?)
    }
}

/// The routes of the customers' listener.
pub fn router(state: CustomerState) -> Router {
    let policy = state.inner.policy.clone();
    let searches = Router::new()
        .route("/v/{token}/call", get(view::call))
        .route("/v/{token}/session", get(view::session))
        .route("/v/{token}/calls", get(view::calls))
        .route("/v/{token}/calls/{call_id}", get(view::call_of_session))
        .route("/v/{token}/export", get(view::export))
        .route_layer(middleware::from_fn_with_state(state.inner.turns.clone(), turns::in_turn));
    let router = Router::new()
        .merge(searches)
        .route("/healthz", get(crate::api::health::healthz))
        .route("/assets/customer/{*path}", get(page::asset))
        .route("/v/{token}", get(page::page))
        .route("/v/{token}/view", get(view::view))
        .fallback(async || refusal())
        .layer(middleware::from_fn(only_get))
        .with_state(state);
    guard::protect(router, policy, "no-referrer")
}

async fn only_get(request: Request, next: Next) -> Response {
    if request.method() == Method::GET { next.run(request).await } else { refusal().into_response() }
}

fn refusal() -> ApiError {
    ApiError::Forbidden("nothing but customer links is served here".into())
}
