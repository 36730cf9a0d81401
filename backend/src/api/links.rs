//! `/api/v1/links`

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use uuid::Uuid;

use super::ApiState;
use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::Body;
use super::model::{self, Link, Listing, MadeLink};
use super::query::{PageQuery, Params, text, window};
use super::time::rfc3339;
use crate::customer::NewLink;
use crate::search::scope::{Scope, Subject};

/// Make a customer link to one call or one session. Whoever has its address sees that, until the link ends or is
/// revoked.
#[utoipa::path(
    post,
    path = "/api/v1/links",
    operation_id = "make_link",
    tag = "links",
    request_body = model::NewLink,
    responses(
        (status = 201, body = MadeLink),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 503, body = ErrorBody)
    )
)]
pub async fn make(
    State(state): State<Arc<ApiState>>,
    Extension(caller): Extension<Caller>,
    Body(new): Body<model::NewLink>,
) -> Result<(StatusCode, Json<MadeLink>), ApiError> {
    let subject = match (text("call_id", new.call_id)?, text("correlation_id", new.correlation_id)?) {
        (Some(id), None) => Subject::Call(id),
        (None, Some(id)) => Subject::Session(id),
        _ => return Err(ApiError::BadRequest("expected either call_id or correlation_id".into())),
    };
    let scope = Scope { subject, window: window(new.since, new.until)? };
    let new = NewLink { scope, seconds: new.expires_in, created_by: caller.name().map(str::to_owned) };
    let (link, url) = state.links.make(new).await?;
    tracing::info!(link.id = %link.id, by = link.created_by, "a customer link was made");
    let made = MadeLink { id: link.id.to_string(), url, expires_at: rfc3339(link.expires_at_us) };
    Ok((StatusCode::CREATED, Json(made)))
}

/// All customer links, newest first, without their addresses.
#[utoipa::path(
    get,
    path = "/api/v1/links",
    operation_id = "list_links",
    tag = "links",
    params(PageQuery),
    responses(
        (status = 200, body = Listing<Link>),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 503, body = ErrorBody)
    )
)]
pub async fn list(
    State(state): State<Arc<ApiState>>,
    Params(query): Params<PageQuery>,
) -> Result<Json<Listing<Link>>, ApiError> {
    let links = state.links.list(&query.read()?).await?;
    Ok(Json(links.into()))
}

/// Revoke a customer link: it opens nothing from now on.
#[utoipa::path(
    delete,
    path = "/api/v1/links/{id}",
    operation_id = "revoke_link",
    tag = "links",
    params(("id" = String, Path, description = "Id of the link")),
    responses(
        (status = 204, description = "Revoked, or it was already"),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 503, body = ErrorBody)
    )
)]
pub async fn revoke(
    State(state): State<Arc<ApiState>>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, ApiError> {
    let unknown = || ApiError::NotFound("no link with this id".into());
    let id: Uuid = path.ok().and_then(|Path(id)| id.parse().ok()).ok_or_else(unknown)?;
    if !state.links.revoke(id).await? {
        return Err(unknown());
    }
    tracing::info!(link.id = %id, by = caller.name(), "a customer link was revoked");
    Ok(StatusCode::NO_CONTENT)
}
