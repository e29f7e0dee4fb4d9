//! Limits, each answered with when to come again.

use crate::stage::{Server, header, ping};
use portcullis::api::quantity::Span;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;

#[tokio::test]
async fn too_many_and_too_much_are_refused_with_a_time_to_come_again() {
    let server = Server::with(|config| {
        config.limits.burst = 4;
        config.limits.requests_per_second = 1;
        config.limits.max_concurrent_requests = 2;
        config.limits.max_body_size = serde_json::from_value(json!("1Ki")).unwrap();
    })
    .await;
    let token = server.token().await;

    let large = json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"filler": "x".repeat(1024)}});
    let refused = server.call(&token, &large).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(refused.text().await.unwrap().contains("larger than"));

    let (first, second) = (server.half_a_request(&token).await, server.half_a_request(&token).await);
    server.working_on(2).await;
    let busy = server.call(&token, &ping()).send().await.unwrap();
    assert_eq!((busy.status(), header(&busy, "retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    for half in [first, second] {
        assert!(half.finish().await.starts_with("HTTP/1.1 200 "));
    }

    let mut last = server.call(&token, &ping()).send().await.unwrap();
    // The bucket fills up by one a second while this runs.
    for _ in 0..50 {
        if last.status() == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
        last = server.call(&token, &ping()).send().await.unwrap();
    }
    assert_eq!((last.status(), header(&last, "retry-after")), (StatusCode::TOO_MANY_REQUESTS, "1"));

    let mut last = server.ask_token("wrong").await;
    for _ in 0..50 {
        if last.status() == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
        last = server.ask_token("wrong").await;
    }
    assert_eq!((last.status(), header(&last, "retry-after")), (StatusCode::TOO_MANY_REQUESTS, "1"));
    assert_eq!(last.json::<Value>().await.unwrap()["error"], "rate_limited");
    server.stop().await;
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let server = Server::with(|config| config.limits.request_timeout = Span::from_secs(1)).await;
    let token = server.token().await;
    let half = server.half_a_request(&token).await;
    let answer = half.answer().await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn who_asks_without_a_token_uses_up_their_address_and_nobody_elses_token() {
    let server = Server::with(|config| {
        config.limits.requests_per_second = 2;
        config.limits.burst = 6;
        config.limits.servers = 2;
    })
    .await;
    let token = server.token().await;
    for path in ["/mcp", "/mcp/workspaces"] {
        let mut statuses = Vec::new();
        // The bucket fills up by one a second while this runs.
        while statuses.last() != Some(&StatusCode::TOO_MANY_REQUESTS) {
            assert!(statuses.len() < 200, "{statuses:?}");
            let request = server.request(Method::POST, path).json(&ping());
            let answer = request.bearer_auth("made up").send().await.unwrap();
            statuses.push(answer.status());
            if answer.status() == StatusCode::TOO_MANY_REQUESTS {
                assert_eq!(header(&answer, "retry-after"), "1");
                let text = answer.text().await.unwrap();
                assert!(text.contains("1 requests per second, 3 at once, at each of 2 servers"), "{text}");
            }
        }
        let (_, refused) = statuses.split_last().unwrap();
        assert!(refused.iter().all(|status| *status == StatusCode::UNAUTHORIZED), "{statuses:?}");
        assert_eq!(server.call(&token, &ping()).send().await.unwrap().status(), StatusCode::OK, "with a token");
    }
    server.stop().await;
}

#[tokio::test]
async fn beyond_the_most_connections_others_wait() {
    let server = Server::with(|config| config.limits.max_connections = 2).await;
    let first = TcpStream::connect(server.address).await.unwrap();
    let _second = TcpStream::connect(server.address).await.unwrap();
    let open = async {
        while !server.private("/metrics").await.text().await.unwrap().contains("portcullis_connections 2\n") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::stage::PATIENCE, open).await.expect("both are accepted");
    let third = server.request(Method::GET, "/jwks.json").send();
    let mut third = std::pin::pin!(third);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut third).await.is_err(), "there is no place");
    drop(first);
    assert_eq!(third.await.unwrap().status(), StatusCode::OK);
    server.stop().await;
}
