//! The loopback listener that gets the authorization response (RFC 8252 §7.3).

use super::{
    callback::{self, CallbackError, PATH},
    metadata::AuthorizationServer,
};
use axum::{
    Router,
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use std::{io, net::Ipv4Addr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

/// The time that the browser has to read the last page.
const LAST_PAGE: Duration = Duration::from_secs(2);
const DONE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Signed in</title>\
    <h1>You are signed in</h1><p>You can close this page and go back to the terminal.</p></html>";
const FAILED: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Not signed in</title>\
    <h1>You are not signed in</h1><p>The terminal says why.</p></html>";
const UNEXPECTED: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Unexpected</title>\
    <h1>This is not the current sign-in</h1><p>Use the newest link that the terminal shows.</p></html>";

/// A listener at a random port of 127.0.0.1.
pub(super) struct CallbackListener {
    listener: TcpListener,
    port: u16,
}

/// The state of the handler.
struct Expected {
    state: String,
    server: AuthorizationServer,
    outcome: mpsc::Sender<Result<String, CallbackError>>,
}

impl CallbackListener {
    pub(super) async fn bind() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    /// The redirect URI of the authorization request.
    pub(super) fn redirect_uri(&self) -> String {
        format!("http://127.0.0.1:{}{PATH}", self.port)
    }

    /// Waits for the response to the request with this `state`. Other requests are refused and change nothing.
    pub(super) async fn code(
        self,
        state: &str,
        server: &AuthorizationServer,
    ) -> io::Result<Result<String, CallbackError>> {
        let (outcome, mut outcomes) = mpsc::channel(1);
        let expected = Expected { state: state.to_owned(), server: server.clone(), outcome };
        let router = Router::new().route(PATH, get(answer)).with_state(Arc::new(expected));
        let stop = CancellationToken::new();
        let serve = axum::serve(self.listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        let mut serve = std::pin::pin!(serve.into_future());
        let outcome = tokio::select! {
            ended = &mut serve => return Err(ended.err().unwrap_or_else(|| io::Error::other("the listener ended"))),
            outcome = outcomes.recv() => outcome,
        };
        stop.cancel();
        // The response with the last page is on its way. Its end is not important.
        let _ = timeout(LAST_PAGE, serve).await;
        outcome.ok_or_else(|| io::Error::other("the listener ended"))
    }
}

async fn answer(State(expected): State<Arc<Expected>>, RawQuery(query): RawQuery) -> Response {
    let outcome = callback::code(&query.unwrap_or_default(), &expected.state, &expected.server);
    let (status, text) = match &outcome {
        Err(CallbackError::OtherState) => return page(StatusCode::BAD_REQUEST, UNEXPECTED),
        Ok(_) => (StatusCode::OK, DONE),
        Err(_) => (StatusCode::BAD_REQUEST, FAILED),
    };
    // Only the first response counts.
    if expected.outcome.try_send(outcome).is_err() {
        return page(StatusCode::BAD_REQUEST, UNEXPECTED);
    }
    page(status, text)
}

fn page(status: StatusCode, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONNECTION, "close"),
    ];
    (status, headers, Html(text)).into_response()
}
