//! The operator's page, at each of its addresses, and its files. It is the same for everybody: what it shows, it asks the
//! API for.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::ApiState;
use super::error::ApiError;
use crate::assets;

pub fn router() -> Router<Arc<ApiState>> {
    let addresses = ["/", "/agents", "/calls/{call_id}", "/sessions/{correlation_id}", "/links", "/login"];
    let router = Router::new().route("/assets/{*path}", get(asset));
    addresses.into_iter().fold(router, |router, address| router.route(address, get(page)))
}

async fn page() -> Response {
    assets::page("operator")
}

async fn asset(path: Option<Path<String>>, headers: HeaderMap) -> Response {
    let file = path.and_then(|Path(path)| assets::file(&format!("assets/{path}"), &headers));
    file.unwrap_or_else(|| ApiError::NotFound("no such file".into()).into_response())
}
