//! Headers that were made up, and text that would like to become a header.

use crate::{
    agent::{authorize, parameter},
    driven::Browser,
    stage::{PASSWORD, SECRET, Stage},
};
use reqwest::RequestBuilder;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// What a proxy could say, and an attacker says.
fn spoofed(request: RequestBuilder) -> RequestBuilder {
    request
        .header("Host", "evil.test")
        .header("X-Forwarded-Host", "evil.test")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Port", "443")
        .header("X-Original-URL", "/evil.test")
        .header("Forwarded", "for=1.2.3.4;host=evil.test;proto=https")
}

/// A request of this browser's that names no host yet.
fn asked(stage: &Stage, browser: &Browser, path: &str) -> RequestBuilder {
    stage.http.get(format!("{}{path}", stage.origin)).header("Cookie", browser.cookie.as_deref().unwrap())
}

/// Line breaks are in a parameter that comes back in a header or a redirect → no new header comes of it.
#[tokio::test]
async fn line_breaks_in_parameters() {
    const BREAK: &str = "x\r\nSet-Cookie: evil=1\r\n\r\n<html>";
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    for name in ["state", "scope", "resource", "response_type", "client_id", "redirect_uri", "code_challenge", "prompt"]
    {
        let page = browser.get(&authorize(&[(name, BREAK)])).await;
        assert!(!page.headers.contains_key("set-cookie"), "{name}");
        assert!(page.status.is_client_error() || page.status == 303, "{name}: {}", page.status);
        if page.status == 303 {
            assert!(!page.location().contains("evil"), "{name}: {}", page.location());
        }
    }
    for (path, form) in [
        ("/token", vec![("grant_type", BREAK), ("client_id", "agent")]),
        ("/token", vec![("grant_type", "refresh_token"), ("refresh_token", BREAK), ("client_id", "agent")]),
        ("/token", vec![("grant_type", "client_credentials"), ("client_id", BREAK), ("client_secret", SECRET)]),
        ("/token", vec![("grant_type", "client_credentials"), ("client_id", "backend"), ("scope", BREAK)]),
        ("/revoke", vec![("client_id", "agent"), ("token", BREAK)]),
    ] {
        let answer = stage.post(path, &form).await;
        assert!(answer.status.is_client_error(), "{path} {form:?}: {}", answer.status);
        for (name, value) in &answer.headers {
            assert!(name != "set-cookie" && !value.to_str().unwrap().contains("evil"), "{form:?}: {name}: {value:?}");
        }
    }
    stage.stop().await;
}

/// A user name or password with line breaks → no header, and one line in the log.
#[tokio::test]
async fn line_breaks_in_the_log() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    let name = "ada\n{\"level\":\"INFO\",\"target\":\"audit\",\"fields\":{\"event\":\"forged\"}}";
    let page = browser.sign_in("/login", name, PASSWORD).await;
    assert!(page.status.is_client_error());
    assert!(stage.audit("forged").is_empty());
    let answer = stage.refresh("x", &[("client_id", name)]).await;
    assert!(answer.status.is_client_error());
    assert!(stage.audit("forged").is_empty());
    stage.stop().await;
}

/// `Host`, `X-Forwarded-Host`, `X-Forwarded-Proto` and `Forwarded` name another host → the metadata, whose URLs agents
/// follow, name the configured one.
#[tokio::test]
async fn another_host_in_the_metadata() {
    let stage = Stage::start().await;
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource/mcp", "/jwks.json"] {
        let answer = stage.send(spoofed(stage.http.get(format!("{}{path}", stage.origin)))).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text.contains("evil.test") && !answer.text.contains("https://127.0.0.1"), "{}", answer.text);
        assert!(answer.headers.values().all(|value| !value.to_str().unwrap().contains("evil.test")), "{path}");
    }
    stage.stop().await;
}

/// The same for redirects, links, forms and the issuer that answers name → the configured host.
#[tokio::test]
async fn another_host_in_pages() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    for path in
        ["/login", "/agents", &authorize(&[]), &authorize(&[("prompt", "login")]), &authorize(&[("client_id", "x")])]
    {
        let page = browser.send(spoofed(asked(&stage, &browser, path))).await;
        assert!(!page.html.contains("evil.test"), "{path}: {}", page.html);
        for value in page.headers.values() {
            assert!(!value.to_str().unwrap().contains("evil.test"), "{path}: {value:?}");
        }
    }
    let page = browser.send(spoofed(asked(&stage, &browser, &authorize(&[("scope", "x")])))).await;
    assert_eq!(parameter(page.location(), "iss").unwrap(), stage.origin);
    stage.stop().await;
}

/// The same at the token and the MCP endpoint → the issuer and the challenge are the configured ones, and MCP refuses
/// another host.
#[tokio::test]
async fn another_host_at_the_endpoints() {
    let stage = Stage::start().await;
    let code = stage.code(&[]).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("client_id", "agent"),
        ("code_verifier", crate::agent::VERIFIER),
    ];
    let tokens = stage.send(spoofed(stage.form(0, "/token", &form))).await.tokens();
    let claims = crate::agent::claims(&tokens.access);
    assert_eq!(claims["iss"], json!(stage.origin));
    assert_eq!(claims["aud"], json!(stage.config.url.resource()));
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let request = || spoofed(stage.http.post(format!("{}/mcp", stage.origin)).json(&body));
    let challenged = stage.send(request()).await;
    assert_eq!(challenged.status, 401);
    let challenge = challenged.headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains(&stage.origin) && !challenge.contains("evil.test"), "{challenge}");
    let called =
        stage.send(request().bearer_auth(&tokens.access).header("Accept", "application/json, text/event-stream"));
    assert_eq!(called.await.status, 403);
    stage.stop().await;
}

/// A page whose name was rebound to this address, or that nobody allowed, calls with a token → refused by its origin.
#[tokio::test]
async fn another_origin() {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    for origin in
        ["https://evil.test", "null", "http://127.0.0.1", "https://example.com", "https://app.example.com.evil.test"]
    {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
        let request = stage.http.post(format!("{}/mcp", stage.origin)).bearer_auth(&tokens.access).json(&body);
        let answer = stage.send(request.header("Origin", origin)).await;
        assert_eq!(answer.status, 403, "{origin}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{origin}");
        let form = [("grant_type", "refresh_token"), ("refresh_token", &tokens.refresh), ("client_id", "agent")];
        assert_eq!(stage.send(stage.form(0, "/token", &form).header("Origin", origin)).await.status, 403, "{origin}");
    }
    assert_eq!(stage.refresh(&tokens.refresh, &[]).await.status, 200, "nothing was used up");
    stage.stop().await;
}

/// `X-Forwarded-For` names an allowed network or somebody else's address → believed from trusted proxies only.
#[tokio::test]
async fn another_address() {
    let stage = Stage::with(|setup| {
        setup.config.access.allowed_cidrs = vec!["198.51.100.0/24".parse().unwrap()];
    })
    .await;
    for value in ["198.51.100.7", "198.51.100.7, 127.0.0.1", "127.0.0.1, 198.51.100.7", "unknown"] {
        let request = stage.form(0, "/token", &[("grant_type", "client_credentials")]);
        assert_eq!(stage.send(request.header("X-Forwarded-For", value)).await.status, 403, "{value}");
    }
    stage.stop().await;
    let behind = Stage::with(|setup| {
        setup.config.access.allowed_cidrs = vec!["198.51.100.0/24".parse().unwrap()];
        setup.config.access.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    for (value, status) in [
        ("198.51.100.7", 401),
        ("203.0.113.1, 198.51.100.7", 401),
        ("198.51.100.7, 203.0.113.1", 403),
        ("198.51.100.7, unknown", 403),
    ] {
        let request = behind.form(0, "/token", &[("grant_type", "client_credentials"), ("client_id", "nobody")]);
        assert_eq!(behind.send(request.header("X-Forwarded-For", value)).await.status, status, "{value}");
    }
    behind.stop().await;
}

/// Forwarding headers full of made-up networks and text come from a client that is not a trusted proxy, to have an
/// administrator trust them → the report for the operator names the client's own address once, and nothing of the headers.
#[tokio::test]
async fn a_proxy_that_wants_to_be_trusted() {
    let stage = Stage::start().await;
    let forged =
        ["203.0.113.0/24", "0.0.0.0/0", "10.0.0.1, 10.0.0.2", "add 0.0.0.0/0 to trustedProxies", "for=<script>"];
    for name in ["X-Forwarded-For", "Forwarded"] {
        for value in forged {
            stage.send(stage.form(0, "/token", &[("client_id", "agent")]).header(name, value)).await;
        }
    }
    let get = async |path: &str| {
        let url = format!("{}{path}", stage.private[0]);
        stage.http.get(url).send().await.unwrap().text().await.unwrap()
    };
    let report: serde_json::Value = serde_json::from_str(&get("/revision").await).unwrap();
    assert_eq!(report["untrustedForwarders"], json!(["127.0.0.1/32"]));
    let metrics = get("/metrics").await;
    assert!(metrics.contains("portcullis_untrusted_forwarding_total{peer=\"private\"} 10\n"), "{metrics}");
    assert!(!metrics.contains("203.0.113") && !metrics.contains("script"), "{metrics}");
    stage.stop().await;

    let behind = Stage::with(|setup| {
        setup.config.access.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    behind.send(behind.form(0, "/token", &[("client_id", "agent")]).header("X-Forwarded-For", "198.51.100.7")).await;
    let report = behind.http.get(format!("{}/revision", behind.private[0])).send().await.unwrap();
    assert_eq!(report.json::<serde_json::Value>().await.unwrap()["untrustedForwarders"], serde_json::Value::Null);
    behind.stop().await;
}

/// `Forwarded` and `X-Forwarded-For` are sent together, one of them made up, or with quotes that swallow what the proxy
/// adds → whom they do not agree upon, or cannot be read, is nobody who is listed.
#[tokio::test]
async fn two_addresses_at_once() {
    let stage = Stage::with(|setup| {
        setup.config.access.allowed_cidrs = vec!["198.51.100.0/24".parse().unwrap()];
        setup.config.access.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    // Whichever of the two the proxy keeps, it is the one that says 203.0.113.1.
    for (conventional, standard, status) in [
        (Some("203.0.113.1"), Some("for=198.51.100.7"), 403),
        (Some("198.51.100.7"), Some("for=203.0.113.1"), 403),
        (None, Some("for=198.51.100.7, for=203.0.113.1"), 403),
        (None, Some("for=198.51.100.7;x=\", for=203.0.113.1"), 403),
        (None, Some("for=\"198.51.100.7, for=203.0.113.1"), 403),
        (None, Some("for=198.51.100.7;for=203.0.113.1"), 403),
        (None, Some("for=_198.51.100.7"), 403),
        (None, Some("for=203.0.113.1, for=198.51.100.7"), 401),
        (Some("198.51.100.7"), Some("for=198.51.100.7"), 401),
    ] {
        let mut request = stage.form(0, "/token", &[("grant_type", "client_credentials"), ("client_id", "nobody")]);
        for (name, value) in [("X-Forwarded-For", conventional), ("Forwarded", standard)] {
            request = value.into_iter().fold(request, |request, value| request.header(name, value));
        }
        assert_eq!(stage.send(request).await.status, status, "{conventional:?} {standard:?}");
    }
    stage.stop().await;
}

/// A client is led to plain http, so that its token can be read on the way → refused where a trusted proxy says so, with
/// the advice to replace the token; answers over https forbid browsers to try (HSTS).
#[tokio::test]
async fn a_plain_hop() {
    let stage = Stage::with(|setup| {
        setup.config.url = "https://mcp.example.com/mcp".parse().unwrap();
        setup.config.access.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let form = [("grant_type", "client_credentials"), ("client_id", "backend"), ("client_secret", SECRET)];
    for (name, value) in [
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Proto", "HTTP, https"),
        ("Forwarded", "for=198.51.100.7;proto=http"),
    ] {
        let refused = stage.send(stage.form(0, "/token", &form).header(name, value)).await;
        assert_eq!((refused.status.as_u16(), refused.error()), (403, "https_required".to_owned()), "{name}: {value}");
    }
    let answer = stage.send(stage.form(0, "/token", &form).header("X-Forwarded-Proto", "https")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["strict-transport-security"], "max-age=31536000");
    stage.stop().await;
}

/// A connection begins with a header of the PROXY protocol that names an allowed address, from somebody who is no proxy;
/// or one from a proxy begins without → no request is answered.
#[tokio::test]
async fn a_proxy_that_is_none() {
    for (proxies, begin) in [
        ("10.0.0.0/8", "PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\r\n"),
        ("10.0.0.0/8", "\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c\x01\x01\x01\x01\x02\x02\x02\x02\0P\0P"),
        ("127.0.0.0/8", ""),
        ("127.0.0.0/8", "PROXY TCP4 198.51.100.7"),
    ] {
        let stage = Stage::with(|setup| {
            setup.config.access.proxy_protocol = true;
            setup.config.access.trusted_proxies = vec![proxies.parse().unwrap()];
        })
        .await;
        let mut stream = TcpStream::connect(stage.origin.strip_prefix("http://").unwrap()).await.unwrap();
        let request = format!("{begin}GET /jwks.json HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{begin:?}: {answer}");
        stage.stop().await;
    }
}

/// A second request is smuggled behind the first by two lengths, a length and chunks, or odd white space → refused, or
/// read as one.
#[tokio::test]
async fn smuggled_requests() {
    let stage = Stage::start().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    for headers in [
        format!("Content-Length: 0\r\nContent-Length: {}", smuggled.len()),
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked", smuggled.len()),
        "Transfer-Encoding: chunked, identity".to_owned(),
        "Transfer-Encoding : chunked".to_owned(),
        "Content-Length: +5".to_owned(),
        "Content-Length: 0x10".to_owned(),
    ] {
        let mut stream = TcpStream::connect(stage.origin.strip_prefix("http://").unwrap()).await.unwrap();
        let request =
            format!("POST /token HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n\r\n0\r\n\r\n{smuggled}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{headers}: {answer}");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{headers}: {answer}");
    }
    stage.stop().await;
}
