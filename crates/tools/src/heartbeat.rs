//! Heartbeats in slow responses. Proxies and clients close silent connections, many after 60 seconds, some after five.
//! If the answer is not ready soon after the work has started, when a refusal with another status is no longer possible,
//! the head of the response is sent. Heartbeats follow until the answer is ready: comments of an event stream (HTML,
//! §9.2.6), or whitespace before a JSON text (RFC 8259 §2).

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use hyper::body::{Body as HttpBody, Frame};
use std::{
    any::Any,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, Interval, MissedTickBehavior, Sleep, interval, sleep, sleep_until},
};

/// The default intervals.
const PACE: Pace = Pace { soon: Duration::from_secs(3), every: Duration::from_secs(15) };
/// How long before the deadline of its request a response ends with an error.
const MARGIN: Duration = Duration::from_millis(500);

/// The message of a response that reaches its deadline.
pub const TOO_LONG: &str = "the request took too long; request less at a time";
/// Disables response buffering, which would hold back heartbeats, in nginx and compatible proxies.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const COMMENT: Bytes = Bytes::from_static(b": still working\n\n");
const SPACE: Bytes = Bytes::from_static(b" ");

/// The intervals of heartbeats.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// How long work may take before the head of its response is sent. Faster responses have a length and their own
    /// status.
    soon: Duration,
    /// The interval of heartbeats.
    every: Duration,
}

/// A request extension: the permits and the deadline of the request.
#[derive(Clone)]
pub struct RequestPermit {
    /// The deadline.
    pub until: Instant,
    /// The permits and other resources of the request.
    pub taken: Arc<dyn Any + Send + Sync>,
}

/// The form of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// A comment: the answer is an event of a stream.
    Comment,
    /// A space: the answer is JSON.
    Space,
}

/// Notifies that the work for a response has started.
#[derive(Clone, Debug, Default)]
pub struct WorkStarted(Arc<Notify>);

impl WorkStarted {
    /// Notifies that the work has started.
    pub fn notify(&self) {
        self.0.notify_one();
    }

    async fn for_a_while(&self, time: Duration) {
        self.0.notified().await;
        sleep(time).await;
    }
}

type Work = Pin<Box<dyn Future<Output = Response> + Send>>;
type Late = Box<dyn FnOnce() -> Response + Send>;

/// The response of `work`, which is JSON or an event stream. If the work takes long after it has `started`, the head is
/// sent first, with the status 200. Shortly before `until`, the response of `late` replaces the response of `work`.
pub async fn answer(
    work: impl Future<Output = Response> + Send + 'static,
    started: &WorkStarted,
    sign: Sign,
    until: Instant,
    late: impl FnOnce() -> Response + Send + 'static,
) -> Response {
    at_pace(PACE, Box::pin(work), started, sign, until, Box::new(late)).await
}

async fn at_pace(
    pace: Pace,
    mut work: Work,
    started: &WorkStarted,
    sign: Sign,
    until: Instant,
    late: Late,
) -> Response {
    tokio::select! {
        biased;
        response = &mut work => return response,
        () = started.for_a_while(pace.soon) => {}
    }
    let late_at = until.checked_sub(MARGIN).unwrap_or(until);
    if Instant::now() >= late_at {
        // The request ends in a moment, with its own status.
        return work.await;
    }
    let mut ticks = interval(pace.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let late_at = Box::pin(sleep_until(late_at));
    let body = Beating { sign, state: BeatState::Working { work, ticks, late_at, late: Some(late) } };
    let mut response = Response::new(Body::new(body));
    let (kind, caching) = match sign {
        Sign::Comment => ("text/event-stream", "no-cache"),
        Sign::Space => ("application/json", "no-store"),
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    response
}

/// Whether a response is a stream of events.
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
}

struct Beating {
    sign: Sign,
    state: BeatState,
}

enum BeatState {
    Working {
        work: Work,
        ticks: Interval,
        late_at: Pin<Box<Sleep>>,
        late: Option<Late>,
    },
    /// The body of the answer, with a prefix and a suffix.
    Sending {
        before: Bytes,
        body: Body,
        after: Bytes,
    },
}

impl BeatState {
    fn sending(response: Response, sign: Sign) -> Self {
        let (before, after) = match sign {
            // The JSON is a single line, as an event requires.
            Sign::Comment if !is_event_stream(response.headers()) => ("data: ", "\n\n"),
            Sign::Comment | Sign::Space => ("", ""),
        };
        Self::Sending { before: before.into(), body: response.into_body(), after: after.into() }
    }
}

impl HttpBody for Beating {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let sign = self.sign;
        loop {
            match &mut self.state {
                BeatState::Working { work, ticks, late_at, late } => {
                    if let Poll::Ready(response) = work.as_mut().poll(context) {
                        self.state = BeatState::sending(response, sign);
                    } else if late_at.as_mut().poll(context).is_ready()
                        && let Some(late) = late.take()
                    {
                        self.state = BeatState::sending(late(), sign);
                    } else {
                        let alive = match sign {
                            Sign::Comment => COMMENT,
                            Sign::Space => SPACE,
                        };
                        return ticks.poll_tick(context).map(|_| Some(Ok(Frame::data(alive))));
                    }
                }
                BeatState::Sending { before, .. } if !before.is_empty() => {
                    return Poll::Ready(Some(Ok(Frame::data(std::mem::take(before)))));
                }
                BeatState::Sending { body, after, .. } => {
                    let frame = std::task::ready!(Pin::new(body).poll_frame(context));
                    if frame.is_none() && !after.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(std::mem::take(after)))));
                    }
                    return Poll::Ready(frame);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use http_body_util::BodyExt as _;

    const FAST: Pace = Pace { soon: Duration::from_millis(40), every: Duration::from_millis(200) };

    fn json(status: StatusCode, text: &'static str) -> Response {
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    /// The response to work that has `started` and takes `takes` milliseconds. Its limit is one second.
    async fn answered(started: bool, takes: u64, sign: Sign, response: Response) -> Response {
        let (told, until) = (WorkStarted::default(), Instant::now() + Duration::from_secs(1));
        if started {
            told.notify();
        }
        let work = async move {
            sleep(Duration::from_millis(takes)).await;
            response
        };
        at_pace(FAST, Box::pin(work), &told, sign, until, Box::new(|| json(StatusCode::OK, "\"late\""))).await
    }

    async fn text(response: Response) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn what_takes_long_shows_that_it_lives() {
        for (sign, kind, expected) in [
            (Sign::Comment, "text/event-stream", ": still working\n\n: still working\n\ndata: {}\n\n"),
            (Sign::Space, "application/json", "  {}"),
        ] {
            let begin = Instant::now();
            let mut response = answered(true, 350, sign, json(StatusCode::CREATED, "{}")).await;
            assert!(begin.elapsed() < Duration::from_millis(350), "the head does not wait for the answer");
            assert_eq!((response.status(), response.headers()[CONTENT_TYPE].to_str().unwrap()), (StatusCode::OK, kind));
            let first = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(begin.elapsed() < Duration::from_millis(350), "nor does the first sign");
            let rest = text(response).await;
            assert_eq!(format!("{}{rest}", str::from_utf8(&first).unwrap()), expected);
        }
    }

    #[tokio::test]
    async fn what_is_ready_soon_or_has_not_begun_is_left_alone() {
        for (started, takes) in [(true, 0), (false, 150)] {
            let response = answered(started, takes, Sign::Space, json(StatusCode::NOT_FOUND, "{}")).await;
            assert_eq!((response.status(), text(response).await), (StatusCode::NOT_FOUND, "{}".to_owned()));
        }
    }

    #[tokio::test]
    async fn what_takes_too_long_says_so_in_time() {
        let begin = Instant::now();
        let text = text(answered(true, 60_000, Sign::Space, json(StatusCode::OK, "{}")).await).await;
        assert_eq!(text.trim_start(), "\"late\"");
        assert!(begin.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_stream_goes_on_as_it_is() {
        let mut response = json(StatusCode::OK, "data: 1\n\ndata: 2\n\n");
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        let response = answered(true, 100, Sign::Comment, response).await;
        assert_eq!(text(response).await, ": still working\n\ndata: 1\n\ndata: 2\n\n");
    }
}
