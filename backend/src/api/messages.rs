//! `/api/v1/messages`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::ApiState;
use super::error::{ApiError, ErrorBody};
use super::listing;
use super::model::{Listing, Message};
use super::query::{MessagePageQuery, Params, SearchQuery};

/// Messages that meet all conditions, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/messages",
    operation_id = "list_messages",
    tag = "messages",
    params(SearchQuery<MessagePageQuery>),
    responses(
        (status = 200, body = Listing<Message>),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 503, body = ErrorBody)
    )
)]
pub async fn list(
    State(state): State<Arc<ApiState>>,
    Params(query): Params<SearchQuery<MessagePageQuery>>,
) -> Result<Response, ApiError> {
    let (filter, rest) = query.read()?;
    Ok(listing::answer(&state.search, &filter, &rest.read()?).await?)
}
