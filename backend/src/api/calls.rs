//! `/api/v1/calls`

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};

use super::ApiState;
use super::error::{ApiError, ErrorBody};
use super::model::{Call, ListedCall, Listing, Pcap};
use super::query::{CallQuery, ExportQuery, Params, SearchPageQuery, SearchQuery};
use crate::call;
use crate::search::Window;

/// Calls of which a message meets all conditions, newest first.
///
/// `from_user` and `to_user` are those of the call: who called, who was called. All other conditions must be met by one
/// and the same message.
#[utoipa::path(
    get,
    path = "/api/v1/calls",
    operation_id = "list_calls",
    tag = "calls",
    params(SearchQuery<SearchPageQuery>),
    responses(
        (status = 200, body = Listing<ListedCall>),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 503, body = ErrorBody)
    )
)]
pub async fn list(
    State(state): State<Arc<ApiState>>,
    Params(query): Params<SearchQuery<SearchPageQuery>>,
) -> Result<Json<Listing<ListedCall>>, ApiError> {
    let (filter, rest) = query.read()?;
    if filter.wants_events() {
        return Err(ApiError::BadRequest(
            "kind=other, protocol_type and json: expected in a search for messages; a call is found by its SIP".into(),
        ));
    }
    let calls = state.search.calls(&filter, &rest.read()?).await?;
    Ok(Json(calls.into()))
}

/// One call: what it comes to, its messages, and its ladder.
#[utoipa::path(
    get,
    path = "/api/v1/calls/{call_id}",
    operation_id = "get_call",
    tag = "calls",
    params(("call_id" = String, Path, description = "Call-ID, percent-encoded"), CallQuery),
    responses(
        (status = 200, body = Call),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 503, body = ErrorBody)
    )
)]
pub async fn show(
    State(state): State<Arc<ApiState>>,
    path: Result<Path<String>, PathRejection>,
    Params(query): Params<CallQuery>,
) -> Result<Response, ApiError> {
    let (correlation_id, window) = query.read()?;
    let call = find(&state, path, correlation_id.as_deref(), window).await?;
    Ok(Json(Call::from(&call)).into_response())
}

/// One call as a file.
#[utoipa::path(
    get,
    path = "/api/v1/calls/{call_id}/export",
    operation_id = "export_call",
    tag = "calls",
    params(("call_id" = String, Path, description = "Call-ID, percent-encoded"), ExportQuery),
    responses(
        (status = 200, description = "The file, to be saved", content(
            (Pcap = "application/vnd.tcpdump.pcap"),
            (String = "text/plain"),
            (Call = "application/json")
        )),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 503, body = ErrorBody)
    )
)]
pub async fn export(
    State(state): State<Arc<ApiState>>,
    path: Result<Path<String>, PathRejection>,
    Params(query): Params<ExportQuery>,
) -> Result<Response, ApiError> {
    let (format, correlation_id, window) = query.read()?;
    let call = find(&state, path, correlation_id.as_deref(), window).await?;
    Ok(format.attachment(&call))
}

async fn find(
    state: &ApiState,
    path: Result<Path<String>, PathRejection>,
    correlation_id: Option<&str>,
    window: Window,
) -> Result<call::Call, ApiError> {
    let Path(call_id) = path.map_err(|error| ApiError::BadRequest(error.body_text()))?;
    let call = state.search.call(&call_id, correlation_id, window).await?;
    call.ok_or_else(|| ApiError::NotFound("no message with this Call-ID was captured".into()))
}
