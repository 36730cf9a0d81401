//! What a link shows, as JSON, and its export. Each handler is given what the link opens and can ask for nothing else.

use axum::Json;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Opened;
use crate::api::error::ApiError;
use crate::api::model::{Call, CustomerView, ListedCall, Listing, Session};
use crate::api::query::{Params, WindowPageQuery, WindowQuery, window};
use crate::call;
use crate::export::Format;
use crate::search::Window;
use crate::search::scope::Subject;

/// What an export takes from the query.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportQuery {
    format: String,
    call_id: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

pub(super) async fn view(opened: Opened) -> Json<CustomerView> {
    Json((&opened.link).into())
}

pub(super) async fn call(opened: Opened, Params(query): Params<WindowQuery>) -> Result<Response, ApiError> {
    let call = opened.call(None, query.read()?).await?;
    Ok(Json(Call::from(&call)).into_response())
}

pub(super) async fn call_of_session(
    opened: Opened,
    path: Result<Path<(String, String)>, PathRejection>,
    Params(query): Params<WindowQuery>,
) -> Result<Response, ApiError> {
    let Path((_, call_id)) = path.map_err(|_| ApiError::OutsideLink)?;
    let call = opened.call(Some(&call_id), query.read()?).await?;
    Ok(Json(Call::from(&call)).into_response())
}

pub(super) async fn session(
    opened: Opened,
    Params(query): Params<WindowQuery>,
) -> Result<Json<Session>, ApiError> {
    let session = opened.scoped.session(query.read()?).await?;
    Ok(Json(session.ok_or_else(nothing)?.into()))
}

pub(super) async fn calls(
    opened: Opened,
    Params(query): Params<WindowPageQuery>,
) -> Result<Json<Listing<ListedCall>>, ApiError> {
    let (window, page) = query.read()?;
    let calls = opened.scoped.calls(&page, window).await?;
    Ok(Json(calls.into()))
}

pub(super) async fn export(opened: Opened, Params(query): Params<ExportQuery>) -> Result<Response, ApiError> {
    let format = Format::parse(&query.format)?;
    let window = window(query.since, query.until)?;
    let call = opened.call(query.call_id.as_deref(), window).await?;
    Ok(format.attachment(&call))
}

impl Opened {
    /// One call: that of the link, unless a session's link is asked for one of its own.
    async fn call(&self, call_id: Option<&str>, window: Window) -> Result<call::Call, ApiError> {
        let call_id = match (&self.scoped.scope().subject, call_id) {
            (_, Some(asked)) => asked,
            (Subject::Call(own), None) => own,
            (Subject::Session(_), None) => return Err(ApiError::OutsideLink),
        };
        self.scoped.call(call_id, window).await?.ok_or_else(nothing)
    }
}

/// The link is right, but nothing of it was captured, or not yet.
fn nothing() -> ApiError {
    ApiError::NotFound("nothing has been captured here yet".into())
}
