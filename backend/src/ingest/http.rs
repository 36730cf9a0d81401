//! HEP over HTTP: `POST /hep` with packets back to back, and `GET /hep` as a WebSocket whose binary frames hold packets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{ConnectInfo, Extension, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router, body};
use hep::framing::{self, Frame};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::places::Place;
use super::stream::Origin;
use super::{Admission, Outcome, Refusal, Way};

/// The longest body and the longest frame, octets.
const MOST_BYTES: usize = 1024 * 1024;

/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the routes need.
#[derive(Clone)]
struct Door {
    admission: Admission,
    idle: Option<Duration>,
    stop: CancellationToken,
}

/// What became of a body's packets.
#[derive(Debug, Default, Serialize)]
struct Taken {
    accepted: u64,
    refused: BTreeMap<&'static str, u64>,
}

/// The routes, for streams that [`tcp::accept`](super::tcp::accept) took. A WebSocket is closed after nothing came for `idle`.
pub fn router(admission: Admission, idle: Option<Duration>, stop: CancellationToken) -> Router {
    Router::new().route("/hep", post(packets).get(socket)).with_state(Door { admission, idle, stop })
}

/// Packets in a body. 200 where all were taken; 400 where some are no HEP, 403 where they may not be sent. While the
/// spool is full, or the peer over its rate, the answer waits.
async fn packets(
    State(door): State<Door>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(place): Extension<Arc<Place>>,
    request: Request,
) -> Response {
    let origin = Origin { way: Way::Http, peer };
    if !door.admission.lets_in(Way::Http, peer) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let body = tokio::select! {
        body = tokio::time::timeout(PATIENCE, body::to_bytes(request.into_body(), MOST_BYTES)) => body,
        () = door.stop.cancelled() => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
    };
    let body = match body {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            door.admission.refuse(origin.packet(&[]), Refusal::Size);
            return StatusCode::PAYLOAD_TOO_LARGE.into_response();
        }
        Err(_) => {
            door.admission.metrics().stream_refused("http_body");
            return StatusCode::REQUEST_TIMEOUT.into_response();
        }
    };
    let (taken, _) = door.take(origin, &body).await;
    if taken.accepted > 0 {
        place.keep();
    }
    let status = match taken.refused.keys().next() {
        None => StatusCode::OK,
        Some(_) if taken.refused.contains_key(Refusal::Key.as_str()) => StatusCode::FORBIDDEN,
        Some(_) if taken.refused.contains_key(Refusal::Closed.as_str()) => StatusCode::SERVICE_UNAVAILABLE,
        Some(_) => StatusCode::BAD_REQUEST,
    };
    (status, Json(taken)).into_response()
}

async fn socket(
    State(door): State<Door>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(place): Extension<Arc<Place>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !door.admission.lets_in(Way::Ws, peer) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let upgrade = upgrade.max_message_size(MOST_BYTES).max_frame_size(MOST_BYTES);
    upgrade.on_upgrade(async move |socket| {
        door.admission.metrics().tcp_connections.inc();
        tokio::select! {
            biased;
            () = door.receive(socket, Origin { way: Way::Ws, peer }, &place) => {}
            () = place.gives_way() => door.admission.metrics().stream_refused("gave_way"),
        }
        door.admission.metrics().tcp_connections.dec();
    })
}

impl Door {
    /// Takes all packets of a socket until it is closed, something comes that is no HEP, or the backend stops.
    async fn receive(&self, mut socket: WebSocket, origin: Origin, place: &Place) {
        let reason = loop {
            let received = async {
                match self.idle {
                    Some(idle) => tokio::time::timeout(idle, socket.recv()).await.ok().flatten(),
                    None => socket.recv().await,
                }
            };
            let received = tokio::select! {
                received = received => received,
                () = self.stop.cancelled() => break close_code::RESTART,
            };
            match received {
                None | Some(Ok(Message::Close(_))) => return,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Text(_))) => {
                    self.admission.refuse(origin.packet(&[]), Refusal::Malformed);
                    break close_code::UNSUPPORTED;
                }
                Some(Ok(Message::Binary(frame))) => {
                    let (taken, whole) = self.take(origin, &frame).await;
                    if taken.accepted > 0 {
                        place.keep();
                    }
                    if taken.refused.contains_key(Refusal::Key.as_str()) {
                        break close_code::POLICY;
                    }
                    if !whole {
                        break close_code::INVALID;
                    }
                }
                Some(Err(error)) => {
                    tracing::info!(peer = %origin.peer, %error, "hep websocket closed");
                    return;
                }
            }
        };
        let close = CloseFrame { code: reason, reason: "".into() };
        let _gone = socket.send(Message::Close(Some(close))).await;
    }

    /// Takes packets that stand back to back; whether they were whole.
    async fn take(&self, origin: Origin, mut rest: &[u8]) -> (Taken, bool) {
        let mut taken = Taken::default();
        let mut batch = self.admission.batch();
        let mut whole = false;
        while let Ok(Frame::Complete(length)) = framing::frame(rest) {
            let (packet, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = after;
            let _told_when_it_is_taken = batch.add(origin.packet(packet));
            if rest.is_empty() {
                whole = true;
                break;
            }
        }
        let mut told = |outcome: Outcome| match outcome.result {
            Ok(()) => taken.accepted += 1,
            Err(refusal) => *taken.refused.entry(refusal.as_str()).or_default() += 1,
        };
        while !batch.take(self.stop.is_cancelled(), &mut told) {
            self.admission.hold_back().await;
        }
        if !whole {
            self.admission.refuse(origin.packet(rest), Refusal::Malformed);
            *taken.refused.entry(Refusal::Malformed.as_str()).or_default() += 1;
        }
        (taken, whole)
    }
}
