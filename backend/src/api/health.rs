//! What machines ask: is it alive, can it work, how much did it do.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::ApiState;
use super::error::{ApiError, ErrorBody};
use super::model::Health;

/// How long the store may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// OpenMetrics, as the metrics are encoded.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Alive.
#[utoipa::path(get, path = "/healthz", operation_id = "healthz", tag = "health",
    responses((status = 200, body = Health)), security(()))]
pub async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Ready: takes in, stores and finds.
#[utoipa::path(get, path = "/readyz", operation_id = "readyz", tag = "health",
    responses((status = 200, body = Health), (status = 503, body = ErrorBody)), security(()))]
pub async fn readyz(State(state): State<Arc<ApiState>>) -> Result<Json<Health>, ApiError> {
    if let Err(reason) = (state.ready)() {
        tracing::warn!(reason, "not ready");
        return Err(ApiError::NotReady(reason));
    }
    let silent = |_| ApiError::NotReady(format!("the store does not answer within {} s", PATIENCE.as_secs()));
    let answer = tokio::time::timeout(PATIENCE, state.search.ready()).await.map_err(silent)?;
    answer.map_err(|error| {
        tracing::warn!(%error, "not ready");
        ApiError::NotReady("the store is away; what comes in waits in the spool".into())
    })?;
    Ok(Json(Health { status: "ok" }))
}

/// Metrics, for Prometheus.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "health",
    responses((status = 200, body = String, content_type = "text/plain"), (status = 401, body = ErrorBody)))]
pub async fn metrics(State(state): State<Arc<ApiState>>) -> Response {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], (state.metrics)()).into_response()
}
