//! Who may come, by address and by the way: allowlists, trusted proxies, https only.

use crate::serve::stage::{SECRET, Server, header, ping};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

/// Header lines.
type Lines = &'static [(&'static str, &'static str)];

#[tokio::test]
async fn only_listed_networks_may_come() {
    let server = Server::with(|config| {
        config.access.allowed_cidrs = vec!["198.51.100.0/24".parse().unwrap()];
        config.access.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    let rows: [(Lines, u16); 9] = [
        (&[("x-forwarded-for", "198.51.100.7")], 200),
        (&[("x-forwarded-for", "203.0.113.7")], 403),
        (&[("x-forwarded-for", "198.51.100.7, 203.0.113.7")], 403),
        (&[("forwarded", "for=\"198.51.100.7:4711\";proto=http")], 200),
        (&[("forwarded", "for=198.51.100.7, for=203.0.113.7")], 403),
        (&[("forwarded", "for=\"198.51.100.7")], 403),
        (&[("x-forwarded-for", "198.51.100.7"), ("forwarded", "for=198.51.100.7")], 200),
        (&[("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=198.51.100.7")], 403),
        (&[("x-real-ip", "198.51.100.7")], 403),
    ];
    for (lines, status) in rows {
        let request = server.request(Method::GET, "/jwks.json");
        let request = lines.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        assert_eq!(request.send().await.unwrap().status(), status, "{lines:?}");
    }
    assert_eq!(server.private("/readyz").await.status(), StatusCode::OK, "the private listener is not concerned");
    server.stop().await;
}

#[tokio::test]
async fn what_came_by_plain_http_is_refused_or_sent_to_https() {
    const URL: &str = "https://mcp.example.com/mcp";
    let server = Server::with(|config| {
        config.url = URL.parse().unwrap();
        config.access.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    let plainly = async |request: RequestBuilder| request.header("x-forwarded-proto", "http").send().await.unwrap();
    for (path, place) in [
        (
            "/.well-known/oauth-protected-resource/mcp",
            "https://mcp.example.com/.well-known/oauth-protected-resource/mcp",
        ),
        ("/authorize?client_id=a%20b&x=//evil.test", "https://mcp.example.com/authorize?client_id=a%20b&x=//evil.test"),
        ("/login", "https://mcp.example.com/login"),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let answer = plainly(server.request(method, path)).await;
            assert_eq!((answer.status(), header(&answer, "location")), (StatusCode::PERMANENT_REDIRECT, place));
            assert_eq!(header(&answer, "strict-transport-security"), "", "it would not count by http");
        }
    }
    let form = [("grant_type", "client_credentials"), ("client_id", "agent"), ("client_secret", SECRET)];
    for request in [
        server.request(Method::POST, "/token").form(&form),
        server.request(Method::POST, "/login").form(&[("user", "ada")]),
        server.call("a token", &ping()),
        server.request(Method::GET, "/mcp"),
        server.request(Method::GET, "/mcp/workspaces"),
        server.request(Method::GET, "/nothing"),
    ] {
        let answer = plainly(request).await;
        assert_eq!((answer.status(), header(&answer, "location")), (StatusCode::FORBIDDEN, ""), "{}", answer.url());
        let text = answer.text().await.unwrap();
        assert!(text.contains("https only") && text.contains("replace it"), "{text}");
    }
    let metrics = server.private("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("portcullis_refused_requests_total{reason=\"https_required\"} 12\n"), "{metrics}");

    // By https, and where nobody knows.
    for proto in [Some("https"), None] {
        let request = server.request(Method::POST, "/token").form(&form);
        let request = proto.into_iter().fold(request, |request, proto| request.header("x-forwarded-proto", proto));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{proto:?}");
        assert_eq!(header(&answer, "strict-transport-security"), "max-age=31536000");
        assert!(answer.json::<Value>().await.unwrap()["access_token"].is_string());
    }
    server.stop().await;
}
