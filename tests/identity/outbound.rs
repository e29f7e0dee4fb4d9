//! The HTTPS client: what it does not follow, not read and not wait for.

use axum::{Router, body::Body, http::StatusCode, response::IntoResponse as _, routing::get};
use portcullis_outbound::{HttpResponse, Outbound, RequestError};
use std::{convert::Infallible, time::Duration};
use tokio::net::TcpListener;

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

async fn ask(url: &str) -> Result<HttpResponse, RequestError> {
    let client = Outbound::new().unwrap().trusted(None).unwrap().with_max_answer(1000);
    client.send(client.get(url).timeout(Duration::from_secs(2))).await
}

/// A body of `length` bytes whose length nobody announces.
fn unannounced(length: usize) -> Body {
    let chunks = (0..length / 100).map(|_| Ok::<_, Infallible>("x".repeat(100)));
    Body::from_stream(futures::stream::iter(chunks))
}

#[tokio::test]
async fn an_answer_is_read_up_to_a_limit() {
    let url = serve(
        Router::new()
            .route("/fits", get(async || "x".repeat(1000)))
            .route("/long", get(async || "x".repeat(1001)))
            .route("/stream-fits", get(async || unannounced(1000)))
            .route("/stream-long", get(async || unannounced(1_000_000))),
    )
    .await;
    for (path, fits) in [("/fits", true), ("/long", false), ("/stream-fits", true), ("/stream-long", false)] {
        match ask(&format!("{url}{path}")).await {
            Ok(answer) => assert!(fits && answer.body().len() == 1000, "{path}"),
            Err(error) => assert!(!fits && matches!(error, RequestError::TooLarge { .. }), "{path}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_any_other() {
    let away = async || (StatusCode::FOUND, [("location", "/there"), ("set-cookie", "a=b")]).into_response();
    let url = serve(Router::new().route("/here", get(away)).route("/there", get(async || "arrived"))).await;
    let answer = ask(&format!("{url}/here")).await.unwrap();
    assert_eq!((answer.status(), answer.body()), (StatusCode::FOUND, b"".as_slice()));
    assert_eq!(answer.object::<serde_json::Value>().unwrap_err().to_string(), "127.0.0.1 answered 302 Found");
}

#[tokio::test]
async fn nobody_is_waited_for_for_ever() {
    let never = async || futures::future::pending::<String>().await;
    let url = serve(Router::new().route("/never", get(never))).await;
    let client = Outbound::new().unwrap().trusted(None).unwrap();
    let error = client.send(client.get(&format!("{url}/never")).timeout(Duration::from_millis(50))).await.unwrap_err();
    assert!(matches!(error, RequestError::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn errors_quote_neither_bodies_nor_urls() {
    let url = serve(Router::new().route("/text", get(async || "gho_token in a page"))).await;
    let answer = ask(&format!("{url}/text?code=secret")).await.unwrap();
    let said = format!("{answer:?} {:?}", answer.object::<serde_json::Value>().unwrap_err());
    assert!(!said.contains("gho_") && !said.contains("secret"), "{said}");
    let gone = ask("http://127.0.0.1:9/x?code=secret").await.unwrap_err();
    assert!(matches!(gone, RequestError::Unreachable { .. }), "{gone:?}");
    assert!(!format!("{gone:?}").contains("secret"), "{gone:?}");
    let nonsense = ask("no url ?code=secret").await.unwrap_err();
    assert!(!format!("{nonsense:?}").contains("secret"), "{nonsense:?}");
}

#[test]
fn a_bundle_must_hold_certificates() {
    let outbound = Outbound::new().unwrap();
    for (bundle, count) in
        [("", 0), ("no PEM", 0), ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 1)]
    {
        assert!(outbound.trusted(Some(bundle)).is_err(), "{bundle:?} {count}");
    }
}
