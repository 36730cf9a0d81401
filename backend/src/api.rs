//! The operators' listener: the REST API, its description, health and metrics, and the pages.
//!
//! A route's handler reads typed parameters, asks `search` or `accounts`, and turns the answer into a type of [`model`].
//! The description at `/api/v1/openapi.json` is made from the same handlers and types.

mod account;
mod auth;
mod calls;
mod counts;
mod docs;
pub mod error;
pub mod guard;
pub mod health;
mod ingest;
mod json;
mod links;
mod listing;
mod messages;
pub mod model;
mod pages;
pub mod query;
mod sessions;
pub mod time;
pub mod turns;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use utoipa::OpenApi;
use utoipa::openapi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::accounts::Accounts;
use crate::customer::Links;
use crate::ingest::quarantine::Quarantine;
use crate::search::Search;
use crate::telemetry::tally::Tally;

use docs::Security;
use error::ApiError;
use turns::Turns;

/// What the operators' listener needs.
pub struct ApiState {
    /// Everything that was captured.
    pub search: Search,
    /// Who may ask.
    pub accounts: Arc<Accounts>,
    /// How many searches are answered at a time.
    pub turns: Turns,
    /// Customer links.
    pub links: Links,
    /// Who sent what.
    pub tally: Arc<Tally>,
    /// What was refused as garbage.
    pub quarantine: Arc<Quarantine>,
    /// All metrics as text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Whether the backend can do its work, and if not, why.
    pub ready: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// How browsers reach this listener, if not by its own address; else empty.
    pub public_url: String,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Siplens",
        description = "Calls, sessions and messages captured by Siplens.\n\nAs long as no user and no token exists, only the machine itself is answered. After `siplens user add NAME` or `siplens token add NAME`, send `Authorization: Bearer TOKEN`, or HTTP Basic.",
        license(name = "MIT OR Apache-2.0")
    ),
    components(schemas(error::ErrorBody, model::CustomerView)),
    modifiers(&Security)
)]
struct Description;

/// The description of the API.
#[must_use]
pub fn openapi() -> openapi::OpenApi {
    open_routes().merge(search_routes()).merge(closed_routes()).into_openapi()
}

/// What everybody is answered.
fn open_routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(account::me))
        .routes(routes!(account::login))
        .routes(routes!(account::logout))
}

/// What only known callers are answered, in turn: it may take much memory and time.
fn search_routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new()
        .routes(routes!(messages::list))
        .routes(routes!(counts::show))
        .routes(routes!(calls::list))
        .routes(routes!(calls::show))
        .routes(routes!(calls::export))
        .routes(routes!(sessions::show))
        .routes(routes!(sessions::calls))
}

/// What else only known callers are answered.
fn closed_routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new()
        .routes(routes!(links::list, links::make))
        .routes(routes!(links::revoke))
        .routes(routes!(ingest::agents))
        .routes(routes!(ingest::peers))
        .routes(routes!(ingest::quarantine))
        .routes(routes!(health::metrics))
}

/// The routes of the operators' listener.
pub fn router(state: ApiState) -> Router {
    let state = Arc::new(state);
    let searches = search_routes().route_layer(from_fn_with_state(state.turns.clone(), turns::in_turn));
    let closed =
        searches.merge(closed_routes()).route_layer(from_fn_with_state(Arc::clone(&state), auth::require));
    let (router, _) = open_routes().merge(closed).split_for_parts();
    let router = router
        .merge(docs::router())
        .merge(pages::router())
        .fallback(async || ApiError::NotFound("nothing is served under this path".into()))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(from_fn_with_state(Arc::clone(&state), auth::same_origin))
        .with_state(state);
    guard::protect(router, guard::policy(&[]), "same-origin")
}
