//! Web origins, and CORS where it is answered here.

use crate::stage::{Server, header, ping};
use reqwest::{Method, StatusCode};

#[tokio::test]
async fn pages_of_allowed_origins_may_call_and_others_may_not() {
    let server = Server::start().await;
    let token = server.token().await;
    let from = |method, path, origin: &str| server.request(method, path).header("origin", origin);

    let preflight = from(Method::OPTIONS, "/mcp", "https://app.example.com")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,mcp-protocol-version")
        .send()
        .await
        .unwrap();
    assert!(preflight.status().is_success(), "without a token");
    assert_eq!(header(&preflight, "access-control-allow-origin"), "https://app.example.com");
    assert!(header(&preflight, "access-control-allow-headers").to_lowercase().contains("authorization"));
    assert_eq!(header(&preflight, "access-control-max-age"), "600");

    let refused = from(Method::POST, "/mcp", "https://app.example.com").json(&ping()).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(header(&refused, "access-control-allow-origin"), "https://app.example.com");
    assert!(header(&refused, "access-control-expose-headers").to_lowercase().contains("www-authenticate"));
    assert!(header(&refused, "vary").to_lowercase().contains("origin"));
    assert_eq!(header(&refused, "access-control-allow-credentials"), "");

    let own = format!("http://{}", server.address);
    for (origin, status) in
        [("https://app.example.com", 200), (own.as_str(), 200), ("https://evil.com", 403), ("null", 403)]
    {
        let response = server.call(&token, &ping()).header("origin", origin).send().await.unwrap();
        assert_eq!(response.status(), status, "{origin}");
        let allowed = header(&response, "access-control-allow-origin");
        assert_eq!(allowed, if status == 200 { origin } else { "" });
    }
    let document = from(Method::GET, "/jwks.json", "https://evil.com").send().await.unwrap();
    assert_eq!((document.status(), header(&document, "access-control-allow-origin")), (StatusCode::OK, "*"));
    server.stop().await;
}

#[tokio::test]
async fn where_the_ingress_speaks_cors_the_server_is_silent_but_still_checks_origins() {
    let server = Server::with(|config| config.cors.answered_here = false).await;
    let token = server.token().await;
    for (path, origin, status) in [
        ("/mcp", "https://app.example.com", 200),
        ("/mcp", "https://evil.com", 403),
        ("/jwks.json", "https://app.example.com", 200),
    ] {
        let request = match path {
            "/mcp" => server.call(&token, &ping()),
            _ => server.request(Method::GET, path),
        };
        let response = request.header("origin", origin).send().await.unwrap();
        assert_eq!(response.status(), status, "{path} {origin}");
        assert_eq!(header(&response, "access-control-allow-origin"), "", "{path} {origin}");
    }
    server.stop().await;
}
