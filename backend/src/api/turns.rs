//! Turns: so many requests that search are answered at a time, a few more wait, and the rest is told to come again. So what searches
//! and their answers hold in memory is bounded, however many ask and however slowly they read.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep, timeout};

use super::error::ApiError;

/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many wait for each that is answered.
const WAITING: usize = 8;

/// How long an answer may take to be read.
const READING: Duration = Duration::from_secs(60);

/// An answer is handed to its connection in pieces of so many octets, so that it is not copied whole.
const PIECE: usize = 64 * 1024;

/// Who is answered, and who waits.
#[derive(Clone)]
pub struct Turns {
    inner: Arc<Inner>,
}

struct Inner {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
    /// How long a request waits.
    patience: Duration,
    /// How long its answer may take to be read.
    reading: Duration,
    metrics: TurnMetrics,
}

/// How many searches there are.
#[derive(Clone, Debug, Default)]
pub struct TurnMetrics {
    /// Requests that are answered now.
    pub busy: Gauge,
    /// Requests that were told to come again.
    pub refused: Counter,
}

impl Turns {
    /// So many at a time, one at least.
    #[must_use]
    pub fn new(places: usize, metrics: TurnMetrics) -> Self {
        Self::patient(places, metrics, PATIENCE, READING)
    }

    fn patient(places: usize, metrics: TurnMetrics, patience: Duration, reading: Duration) -> Self {
        let (places, waiting) = (places.max(1), AtomicUsize::new(0));
        let (semaphore, most_waiting) = (Arc::new(Semaphore::new(places)), places * WAITING);
        let inner = Inner { places: semaphore, waiting, most_waiting, patience, reading, metrics };
        Self { inner: Arc::new(inner) }
    }

    /// Its places. Who holds more than one request may takes further ones.
    #[must_use]
    pub fn places(&self) -> Arc<Semaphore> {
        Arc::clone(&self.inner.places)
    }

    /// A turn; `None` where too many wait, or it took too long.
    async fn take(&self) -> Option<Turn> {
        let places = Arc::clone(&self.inner.places);
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            return Some(Turn::begin(place, &self.inner.metrics));
        }
        let waiting = Waiting::begin(&self.inner)?;
        let place = timeout(self.inner.patience, places.acquire_owned()).await.ok()?.ok()?;
        drop(waiting);
        Some(Turn::begin(place, &self.inner.metrics))
    }
}

/// One who waits.
struct Waiting<'a>(&'a Inner);

impl<'a> Waiting<'a> {
    fn begin(inner: &'a Inner) -> Option<Self> {
        let waiting = Self(inner);
        (inner.waiting.fetch_add(1, Ordering::AcqRel) < inner.most_waiting).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One who is answered.
struct Turn {
    busy: Gauge,
    _place: OwnedSemaphorePermit,
}

impl Turn {
    fn begin(place: OwnedSemaphorePermit, metrics: &TurnMetrics) -> Self {
        metrics.busy.inc();
        Self { busy: metrics.busy.clone(), _place: place }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.busy.dec();
    }
}

/// Answers a request when it is its turn, which lasts until the answer is read.
pub async fn in_turn(State(turns): State<Turns>, request: Request, next: Next) -> Response {
    let Some(turn) = turns.take().await else {
        turns.inner.metrics.refused.inc();
        return ApiError::Busy.into_response();
    };
    next.run(request).await.map(|body| Body::new(Answer::new(body, turn, turns.inner.reading)))
}

/// The body of an answer.
struct Answer {
    body: Body,
    rest: Bytes,
    late: Pin<Box<Sleep>>,
    turn: Option<Turn>,
}

impl Answer {
    fn new(body: Body, turn: Turn, reading: Duration) -> Self {
        let late = Box::pin(sleep(reading));
        Self { body, rest: Bytes::new(), late, turn: Some(turn) }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.late.as_mut().poll(cx).is_ready() {
            self.turn = None;
            self.rest = Bytes::new();
            return Poll::Ready(Some(Err(axum::Error::new("the answer was not read in time"))));
        }
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                end => {
                    self.turn = None;
                    return Poll::Ready(end);
                }
            }
        }
        let piece = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(piece);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let of_body = self.body.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(of_body.lower().saturating_add(rest));
        hint
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    const OK: StatusCode = StatusCode::OK;
    const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

    async fn ask(router: &Router) -> Response {
        let request = Request::builder().uri("/").body(Body::empty()).expect("a request");
        router.clone().oneshot(request).await.expect("an answer")
    }

    fn router(metrics: &TurnMetrics, patience: Duration, reading: Duration) -> Router {
        let turns = Turns::patient(1, metrics.clone(), patience, reading);
        let large = || async { "x".repeat(3 * PIECE + 1) };
        Router::new().route("/", get(large)).route_layer(from_fn_with_state(turns, in_turn))
    }

    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_turn_lasts_until_its_answer_is_read_and_who_waits_too_long_is_told() {
        let metrics = TurnMetrics::default();
        let impatient = router(&metrics, SHORT, READING);
        let first = ask(&impatient).await;
        assert_eq!((first.status(), metrics.busy.get()), (OK, 1));
        // Nobody reads it, so the next waits in vain.
        let second = ask(&impatient).await;
        assert_eq!((second.status(), metrics.refused.get()), (UNAVAILABLE, 1));
        assert!(second.headers().contains_key("retry-after"));
        let read = first.into_body().collect().await.expect("read").to_bytes();
        assert_eq!((read.len(), metrics.busy.get()), (3 * PIECE + 1, 0));
        assert_eq!(ask(&impatient).await.status(), OK);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_read_in_time_is_broken_off() {
        let metrics = TurnMetrics::default();
        let mut body = ask(&router(&metrics, PATIENCE, SHORT)).await.into_body();
        body.frame().await.expect("a piece").expect("data");
        sleep(SHORT * 2).await;
        body.frame().await.expect("an end").expect_err("too late");
        assert_eq!(metrics.busy.get(), 0);
    }

    #[tokio::test]
    async fn more_than_may_wait_are_told_at_once_and_who_waits_is_answered() {
        let metrics = TurnMetrics::default();
        let router = router(&metrics, PATIENCE, READING);
        let held = ask(&router).await;
        let waiting: Vec<_> = (0..WAITING)
            .map(|_| {
                let router = router.clone();
                tokio::spawn(async move { ask(&router).await.status() })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(ask(&router).await.status(), UNAVAILABLE);
        drop(held);
        for waited in waiting {
            assert_eq!(waited.await.expect("no panic"), OK);
        }
        assert_eq!((metrics.busy.get(), metrics.refused.get()), (0, 1));
    }
}
