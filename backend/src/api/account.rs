//! Logging in and out.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::ApiState;
use super::auth::{self, COOKIE, Caller, Peer};
use super::error::{ApiError, ErrorBody};
use super::json::Body;
use super::model::{Auth, Login, Me};
use crate::accounts::LOGIN_SECONDS;

/// Who asks. Answers also those who are not logged in, and says so.
#[utoipa::path(
    get,
    path = "/api/v1/me",
    operation_id = "get_me",
    tag = "account",
    responses((status = 200, body = Me), (status = 503, body = ErrorBody)),
    security(())
)]
pub async fn me(State(state): State<Arc<ApiState>>, request: Request) -> Result<Json<Me>, ApiError> {
    let (parts, _) = request.into_parts();
    match auth::identify(&state, &parts).await {
        Ok(Caller::Anybody) => Ok(Json(Me { name: None, auth: Auth::Open })),
        Ok(Caller::Named(name)) => Ok(Json(Me { name: Some(name), auth: Auth::User })),
        Err(ApiError::Unauthorized(_)) => Ok(Json(Me { name: None, auth: Auth::User })),
        Err(error) => Err(error),
    }
}

/// Log in with a browser: sets the cookie `siplens_session`.
#[utoipa::path(
    post,
    path = "/api/v1/login",
    operation_id = "login",
    tag = "account",
    request_body = Login,
    responses(
        (status = 204, description = "Logged in"),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 429, body = ErrorBody),
        (status = 503, body = ErrorBody)
    ),
    security(())
)]
pub async fn login(
    State(state): State<Arc<ApiState>>,
    Peer(peer): Peer,
    Body(Login { name, password }): Body<Login>,
) -> Result<Response, ApiError> {
    if !state.accounts.check_password(peer, &name, &password).await? {
        return Err(ApiError::Unauthorized("this name and password do not belong together".into()));
    }
    let key = state.accounts.begin_session(&name).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie(&state, &key, LOGIN_SECONDS)?)]).into_response())
}

/// Log out: ends the login.
#[utoipa::path(
    post,
    path = "/api/v1/logout",
    operation_id = "logout",
    tag = "account",
    responses((status = 204, description = "Logged out, or was not logged in"), (status = 503, body = ErrorBody)),
    security(())
)]
pub async fn logout(State(state): State<Arc<ApiState>>, headers: HeaderMap) -> Result<Response, ApiError> {
    if let Some(key) = auth::session_key(&headers) {
        state.accounts.end_session(&key).await?;
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie(&state, "", 0)?)]).into_response())
}

fn cookie(state: &ApiState, key: &str, seconds: i64) -> Result<HeaderValue, ApiError> {
    let secure = if state.public_url.starts_with("https://") { "; Secure" } else { "" };
    let text = format!("{COOKIE}={key}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&text).map_err(|_| ApiError::Internal)
}
