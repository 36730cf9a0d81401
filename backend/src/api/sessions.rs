//! `/api/v1/sessions`

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};

use super::ApiState;
use super::error::{ApiError, ErrorBody};
use super::model::{ListedCall, Listing, Session};
use super::query::{Params, WindowPageQuery, WindowQuery};
use crate::search::filter::Filter;

/// One session: how many messages and calls, and how they ended.
#[utoipa::path(
    get,
    path = "/api/v1/sessions/{correlation_id}",
    operation_id = "get_session",
    tag = "sessions",
    params(("correlation_id" = String, Path, description = "Correlation id, percent-encoded"), WindowQuery),
    responses(
        (status = 200, body = Session),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 503, body = ErrorBody)
    )
)]
pub async fn show(
    State(state): State<Arc<ApiState>>,
    path: Result<Path<String>, PathRejection>,
    Params(query): Params<WindowQuery>,
) -> Result<Json<Session>, ApiError> {
    let correlation_id = id(path)?;
    let session = state.search.session(&correlation_id, query.read()?).await?;
    let session = session
        .ok_or_else(|| ApiError::NotFound("no message with this correlation id was captured".into()))?;
    Ok(Json(session.into()))
}

/// The calls of one session, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/sessions/{correlation_id}/calls",
    operation_id = "list_calls_of_session",
    tag = "sessions",
    params(("correlation_id" = String, Path, description = "Correlation id, percent-encoded"), WindowPageQuery),
    responses(
        (status = 200, body = Listing<ListedCall>),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 503, body = ErrorBody)
    )
)]
pub async fn calls(
    State(state): State<Arc<ApiState>>,
    path: Result<Path<String>, PathRejection>,
    Params(query): Params<WindowPageQuery>,
) -> Result<Json<Listing<ListedCall>>, ApiError> {
    let (window, page) = query.read()?;
    let filter = Filter {
        correlation_id: Some(id(path)?),
        since_us: window.since_us,
        until_us: window.until_us,
        ..Filter::default()
    };
    let calls = state.search.calls(&filter, &page).await?;
    Ok(Json(calls.into()))
}

fn id(path: Result<Path<String>, PathRejection>) -> Result<String, ApiError> {
    path.map(|Path(id)| id).map_err(|error| ApiError::BadRequest(error.body_text()))
}
