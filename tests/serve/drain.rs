//! The end: nobody who comes is turned away before everybody knows, and what runs comes to its end.

use crate::serve::stage::{PATIENCE, Server, answer_to, ping};
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::{path::PathBuf, time::Duration};
use tokio::net::TcpStream;

#[tokio::test]
async fn http_2_is_spoken_and_drained() {
    use hyper_util::{
        client::legacy,
        rt::{TokioExecutor, TokioTimer},
    };
    let server = Server::start().await;
    let client = legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .http2_only(true)
        .build_http::<axum::body::Body>();
    let uri: http::Uri = format!("http://{}/jwks.json", server.address).parse().unwrap();
    let answer = client.get(uri.clone()).await.unwrap();
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, http::Version::HTTP_2));
    server.shutdown.cancel();
    tokio::time::timeout(PATIENCE, server.task)
        .await
        .expect("an idle connection does not hold it up")
        .unwrap()
        .unwrap();
    assert!(client.get(uri).await.is_err());
}

#[tokio::test]
async fn a_shutdown_lets_running_requests_finish_and_takes_no_more() {
    let server = Server::start().await;
    let token = server.token().await;
    let running = server.half_a_request(&token).await;
    server.working_on(1).await;
    assert_eq!(server.private("/readyz").await.status(), StatusCode::OK);

    server.shutdown.cancel();
    let refused = async {
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("new connections are refused");
    assert_eq!(server.private("/readyz").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!server.task.is_finished());

    let answer = running.finish().await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn a_command_that_runs_at_the_shutdown_comes_to_its_end() {
    let server = Server::start().await;
    let token = server.token().await;
    let workspace = server.tool(&token, "create_workspace", &json!({"template": "blank", "name": "web"})).await;
    let home = PathBuf::from(workspace["home"].as_str().unwrap_or_else(|| panic!("{workspace}")));
    let command = "touch begun; until test -e go; do sleep 0.02; done; echo done";
    let running = tokio::spawn(server.tool(&token, "run_command", &json!({"workspace": "web", "command": command})));
    let begun = async {
        while !home.join("begun").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("the command begins");

    server.shutdown.cancel();
    let draining = async {
        while server.private("/readyz").await.status() == StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, draining).await.expect("the server drains");
    std::fs::write(home.join("go"), "").unwrap();
    let result = tokio::time::timeout(PATIENCE, running).await.expect("the command ends").unwrap();
    assert_eq!((&result["exit_code"], &result["stdout"]), (&json!(0), &json!("done\n")), "{result}");
    server.stop().await;
}

#[tokio::test]
async fn until_everybody_has_heard_of_the_end_nobody_is_turned_away() {
    use hyper_util::{client::legacy, rt::TokioExecutor};
    let server = Server::set(|setup| setup.lame_duck = PATIENCE * 10).await;
    let token = server.token().await;
    let early = TcpStream::connect(server.address).await.unwrap();
    let frames = legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http::<axum::body::Body>();
    let uri: http::Uri = format!("http://{}/jwks.json", server.address).parse().unwrap();
    assert_eq!(frames.get(uri.clone()).await.unwrap().status(), StatusCode::OK);

    server.shutdown.cancel();
    assert_eq!(server.private("/readyz").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let request = format!("GET /jwks.json HTTP/1.1\r\nhost: {}\r\n\r\n", server.address);
    for stream in [early, TcpStream::connect(server.address).await.unwrap()] {
        // The answer is whole, and says that it is the connection's last.
        let answer = answer_to(stream, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    for _ in 0..20 {
        assert_eq!(server.call(&token, &ping()).send().await.unwrap().status(), StatusCode::OK);
        assert_eq!(frames.get(uri.clone()).await.unwrap().status(), StatusCode::OK);
    }
    assert!(!server.task.is_finished());
    server.task.abort();
}

#[tokio::test]
async fn after_its_time_the_server_stops() {
    let server = Server::set(|setup| setup.lame_duck = Duration::from_secs(1)).await;
    assert_eq!(server.request(Method::GET, "/jwks.json").send().await.unwrap().status(), StatusCode::OK);
    let begin = tokio::time::Instant::now();
    server.stop().await;
    assert!(begin.elapsed() >= Duration::from_secs(1), "not before");
}
