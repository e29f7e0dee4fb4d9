//! Limits, each answered with when to come again.

use crate::serve::{
    hoarding,
    stage::{Server, header, ping},
};
use portcullis_core::quantity::Span;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{io::AsyncReadExt as _, net::TcpStream};

#[tokio::test]
async fn too_many_and_too_much_are_refused_with_a_time_to_come_again() {
    let server = Server::with(|config| {
        config.limits.burst = 4;
        config.limits.requests_per_second = 1;
        config.limits.max_concurrent_requests = 4;
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
    let text = busy.text().await.unwrap();
    assert!(text.contains("this client has reached its share of the concurrent requests for this user"), "{text}");
    let other = server.token_of("other-1").await;
    assert_eq!(server.call(&other, &ping()).send().await.unwrap().status(), StatusCode::OK, "half is for others");
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
    // Verified once: tokens that are not, wait for the address's rate like those that are made up.
    assert_eq!(server.call(&token, &ping()).send().await.unwrap().status(), StatusCode::OK);
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
async fn beyond_the_most_connections_an_idle_one_makes_room_and_one_with_a_request_does_not() {
    let server = Server::with(|config| config.limits.max_connections = 2).await;
    let token = server.token().await;
    let half = server.half_a_request(&token).await;
    server.working_on(1).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    // The connection of the token is idle too, and for longer.
    let fresh = crate::serve::stage::client().get(format!("http://{}/jwks.json", server.address));
    assert_eq!(fresh.send().await.unwrap().status(), StatusCode::OK);
    let second = server.half_a_request(&token).await;
    server.working_on(2).await;
    let closed =
        tokio::time::timeout(crate::serve::stage::PATIENCE, idle.read(&mut [0; 1])).await.expect("it makes room");
    assert_eq!(closed.unwrap_or(0), 0);

    let third = crate::serve::stage::client().get(format!("http://{}/jwks.json", server.address)).send();
    let mut third = std::pin::pin!(third);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut third).await.is_err(), "both have requests");
    assert!(half.finish().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(third.await.unwrap().status(), StatusCode::OK);
    assert!(second.finish().await.starts_with("HTTP/1.1 200 "));
    server.stop().await;
}

/// Over HTTP/2 and HTTP/1.1, a response that is not read ends with its request's time.
#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_is_not_read_is_cut_off_at_the_deadline() {
    let server = Server::with(|config| config.limits.request_timeout = Span::from_secs(3)).await;
    let token = server.token().await;
    server.tool(&token, "create_workspace", &json!({"template": "blank", "name": "web"})).await;
    let line = "head -c 1000000 /dev/zero | tr '\\0' x | fold -w 99 > large";
    server.tool(&token, "run_command", &json!({"workspace": "web", "command": line})).await;
    let read = json!({"workspace": "web", "path": "large", "max_bytes": 1_000_000});
    let body = hoarding::tool("read_file", &read);
    for http2 in [false, true] {
        let client = crate::serve::stage::builder();
        let client =
            if http2 { client.http2_prior_knowledge().http2_initial_stream_window_size(65_535) } else { client };
        let client = client.build().unwrap();
        let begun = tokio::time::Instant::now();
        let request = client.post(format!("http://{}/mcp", server.address)).bearer_auth(&token);
        let request = request.header("accept", "application/json").header("content-type", "application/json");
        let answer = request.body(body.clone()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        server.working_on(0).await;
        tokio::time::sleep(Duration::from_secs(4).saturating_sub(begun.elapsed())).await;
        // What the systems have of it can still be read; the rest is gone. A megabyte may fit into their buffers over
        // HTTP/1.1, but twice as much does not.
        assert!(answer.bytes().await.is_err(), "HTTP/2: {http2}");
    }
    server.stop().await;
}
