//! Too much of everything. All is refused by its size, early, and the server answers others meanwhile and afterwards.

use crate::{
    agent::authorize,
    stage::{PASSWORD, Stage},
};
use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use reqwest::Method;
use serde_json::{Value, json};
use std::{convert::Infallible, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

async fn still_answers(stage: &Stage) {
    let tokens = stage.tokens().await;
    assert_eq!(stage.status(&tokens.access).await, 200);
}

/// The first line of the answer to bytes as they are; nothing if the connection is closed without one.
async fn raw(stage: &Stage, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(stage.origin.strip_prefix("http://").unwrap()).await.unwrap();
    // The server may answer and hang up before it has read all.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

/// A query of ten kilobytes to a megabyte → 414, 431 or a page that says so; no redirect.
#[tokio::test]
async fn a_huge_query() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    let page = browser.get(&authorize(&[("padding", &"x".repeat(10_000))])).await;
    assert_eq!(page.status, 414);
    let page = browser.get(&authorize(&[("padding", &"x".repeat(13_000))])).await;
    assert_eq!(page.status, 400);
    assert!(!page.headers.contains_key("location"));
    let request = format!("GET /authorize?{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(1 << 20));
    let line = raw(&stage, request.as_bytes()).await;
    assert!(line.is_empty() || line.contains(" 414 ") || line.contains(" 431 "), "{line}");
    still_answers(&stage).await;
    stage.stop().await;
}

/// A form of more than sixty-four kilobytes, announced or in chunks → 413 at every endpoint that reads one.
#[tokio::test]
async fn a_huge_form() {
    let stage = Stage::start().await;
    let large = "x".repeat(70_000);
    for path in ["/token", "/revoke", "/introspect"] {
        assert_eq!(stage.post(path, &[("client_id", "agent"), ("padding", &large)]).await.status, 413, "{path}");
        let chunk = || Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'y'; 1000])));
        let chunks = StreamBody::new(futures::stream::iter((0..70).map(move |_| chunk())));
        let request = stage.http.post(format!("{}{path}", stage.origin)).body(reqwest::Body::wrap(chunks));
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        assert_eq!(stage.send(request).await.status, 413, "{path} in chunks");
    }
    let fields = [("user".to_owned(), large)];
    let mut browser = stage.browser();
    for path in ["/login", "/consent", "/logout", "/agents/revoke", "/authorize"] {
        assert_eq!(browser.submit(path, &fields).await.status, 413, "{path}");
    }
    still_answers(&stage).await;
    stage.stop().await;
}

/// One header, or all together, of more than the server reads → 431 or hung up.
#[tokio::test]
async fn huge_headers() {
    let stage = Stage::start().await;
    let one = format!("GET /login HTTP/1.1\r\nHost: h\r\nX-Large: {}\r\n\r\n", "x".repeat(1 << 20));
    let many: String = (0..5000).map(|index| format!("X-{index}: y\r\n")).collect::<Vec<_>>().concat();
    let many = format!("GET /login HTTP/1.1\r\nHost: h\r\n{many}\r\n");
    let authorization =
        format!("POST /mcp HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\n\r\n", "x".repeat(1 << 20));
    for request in [one, many, authorization] {
        let line = raw(&stage, request.as_bytes()).await;
        assert!(line.is_empty() || line.contains(" 431 "), "{line}");
    }
    still_answers(&stage).await;
    stage.stop().await;
}

/// A cookie of thirty kilobytes, or a thousand cookies → it is no session, and the page comes as for anybody.
#[tokio::test]
async fn huge_cookies() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    browser.get("/login").await;
    let name = browser.cookie.clone().unwrap().split_once('=').unwrap().0.to_owned();
    let many: Vec<String> = (0..1000).map(|index| format!("{name}={index}")).collect();
    for cookie in [format!("{name}={}", "A".repeat(30_000)), many.join("; ")] {
        browser.cookie = Some(cookie);
        assert_eq!(browser.get("/agents").await.path(), "/login");
    }
    stage.stop().await;
}

/// A `state` of more than three kilobytes → sent back with an error and without the state.
#[tokio::test]
async fn a_huge_state() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    let page = browser.get(&authorize(&[("state", &"x".repeat(3073))])).await;
    let location = page.location();
    assert!(location.contains("error=invalid_request") && !location.contains("xxx"), "{location}");
    stage.stop().await;
}

/// Thousands of scopes, or one endless one → refused, with a short answer.
#[tokio::test]
async fn huge_scopes() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    for scope in ["files:read ".repeat(600) + "x", "x".repeat(7000)] {
        let page = browser.get(&authorize(&[("scope", &scope)])).await;
        let location = page.location();
        assert!(location.contains("error=invalid_scope") && location.len() < 1000, "{location}");
    }
    let tokens = stage.tokens().await;
    let wide = "files:read ".repeat(5000);
    let renewed = stage.refresh(&tokens.refresh, &[("scope", wide.trim())]).await;
    assert_eq!(renewed.json()["scope"], "files:read", "many times the same is the same");
    stage.stop().await;
}

/// A client id or a redirect URI of many kilobytes → refused, and the page repeats only its beginning.
#[tokio::test]
async fn a_huge_client_id() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    let long = "x".repeat(6000);
    let uri = format!("https://agent.example.com/{long}");
    for more in [("client_id", &long), ("redirect_uri", &uri)] {
        let page = browser.get(&authorize(&[(more.0, more.1)])).await;
        assert_eq!(page.status, 400);
        assert!(!page.html.contains(&"x".repeat(500)), "{}", more.0);
    }
    let answer = stage.refresh("x", &[("client_id", &"x".repeat(60_000))]).await;
    assert_eq!(answer.error(), "invalid_client");
    assert!(answer.text.len() < 1000);
    stage.stop().await;
}

/// Tokens, codes, verifiers and secrets of tens of kilobytes → refused like any other that is wrong.
#[tokio::test]
async fn huge_credentials() {
    let stage = Stage::start().await;
    let long = "A".repeat(60_000);
    assert_eq!(stage.refresh(&long, &[]).await.error(), "invalid_grant");
    assert_eq!(stage.refresh(&format!("prt1.g-{}.0.A.A", "0".repeat(50_000)), &[]).await.error(), "invalid_grant");
    assert_eq!(stage.redeem(&long, &[]).await.error(), "invalid_grant");
    let code = stage.code(&[]).await;
    assert_eq!(stage.redeem(&code, &[("code_verifier", &"a".repeat(50_000))]).await.error(), "invalid_grant");
    let secret = [("grant_type", "client_credentials"), ("client_id", "backend"), ("client_secret", long.as_str())];
    assert_eq!(stage.token(&secret).await.error(), "invalid_client");
    let jwt = format!("{0}.{0}.{0}", "A".repeat(15_000));
    assert_eq!(stage.status(&jwt).await, 401);
    assert_eq!(stage.post("/revoke", &[("client_id", "agent"), ("token", &long)]).await.status, 200);
    stage.stop().await;
}

/// A user name or password of many kilobytes → refused without hashing it for long, and not repeated.
#[tokio::test]
async fn a_huge_user_name() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    let long = "n".repeat(10_000);
    for (user, password) in [(long.as_str(), PASSWORD), ("ada", long.as_str()), (&long[..300], "x")] {
        let begin = tokio::time::Instant::now();
        let page = browser.sign_in("/login", user, password).await;
        assert!(page.status.is_client_error(), "{}", page.status);
        assert!(begin.elapsed().as_secs() < 5);
        assert_eq!(browser.get("/agents").await.path(), "/login");
    }
    assert_eq!(browser.sign_in("/login", "ada", PASSWORD).await.path(), "/agents");
    stage.stop().await;
}

/// An MCP message of more than its megabyte, or nested ten thousand deep → 413, or an error; the server goes on.
#[tokio::test]
async fn huge_messages() {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    let send = async |body: String| {
        let request = stage.http.post(format!("{}/mcp", stage.origin)).bearer_auth(&tokens.access).body(body);
        let request = request.header("Content-Type", "application/json");
        stage.send(request.header("Accept", "application/json, text/event-stream")).await.status.as_u16()
    };
    let large = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"x": "x".repeat(1 << 20)}});
    assert_eq!(send(large.to_string()).await, 413);
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for body in [deep.clone(), format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"x":{deep}}}}}"#)] {
        assert!((400..500).contains(&send(body).await));
    }
    still_answers(&stage).await;
    stage.stop().await;
}

/// A registration of more than sixteen kilobytes, or with thousands of callbacks → refused.
#[tokio::test]
async fn a_huge_registration() {
    let stage = Stage::with(|setup| {
        let policy = json!({"dynamicRegistration": {"lifetime": "1h", "maxClients": 10, "scopes": ["files:read"]}});
        setup.config.client_policy = serde_json::from_value(policy).unwrap();
    })
    .await;
    let send = async |body: &Value| stage.send(stage.http.post(format!("{}/register", stage.origin)).json(body)).await;
    let uri = "https://agent.example.com/callback";
    assert_eq!(send(&json!({"redirect_uris": [uri], "x": "x".repeat(17 << 10)})).await.status, 413);
    let many: Vec<String> = (0..300).map(|index| format!("{uri}{index}")).collect();
    assert_eq!(send(&json!({"redirect_uris": many})).await.error(), "invalid_redirect_uri");
    let long = format!("{uri}/{}", "x".repeat(3000));
    assert_eq!(send(&json!({"redirect_uris": [long]})).await.error(), "invalid_redirect_uri");
    stage.stop().await;
}

/// A body is announced and never sent, by more connections than there are workers → others are answered meanwhile.
#[tokio::test]
async fn bodies_that_never_come() {
    let stage = Stage::start().await;
    let mut open = Vec::new();
    for path in ["/token", "/login", "/register", "/mcp"].iter().cycle().take(200) {
        let mut stream = TcpStream::connect(stage.origin.strip_prefix("http://").unwrap()).await.unwrap();
        let request = format!(
            "{} {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nx",
            Method::POST
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        open.push(stream);
    }
    still_answers(&stage).await;
    drop(open);
    stage.stop().await;
}

/// A head is begun and never ended, byte by byte (slowloris), by more connections than there are workers → each is
/// closed in time, and others are answered meanwhile.
#[tokio::test]
async fn heads_that_never_end() {
    let stage = Stage::start().await;
    let mut slow = JoinSet::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(stage.origin.strip_prefix("http://").unwrap()).await.unwrap();
        slow.spawn(async move {
            stream.write_all(b"GET /login HTTP/1.1\r\nHost: h\r\nX-Slow: ").await.unwrap();
            let (mut read, mut write) = stream.into_split();
            let dribble = async {
                while write.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            };
            let closed = async { while read.read_u8().await.is_ok() {} };
            tokio::select! { () = dribble => {}, () = closed => {} }
        });
    }
    still_answers(&stage).await;
    tokio::time::timeout(Duration::from_mins(1), slow.join_all()).await.unwrap();
    stage.stop().await;
}
