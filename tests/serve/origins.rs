//! Web origins, and CORS where it is answered here.

use crate::serve::stage::{Server, header, ping};
use reqwest::{Method, Response, StatusCode};
use serde_json::json;

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

/// Every route that pages of other origins may use, with the methods and headers of browser-based clients.
#[tokio::test]
async fn preflights_are_answered_on_every_public_route() {
    let server = Server::with(|config| {
        config.client_policy.dynamic_registration = Some(serde_json::from_value(json!({})).unwrap());
        config.path_aliases = vec!["/api/http".to_owned()];
    })
    .await;
    let origin = "https://app.example.com";
    for (method, path, headers, public) in [
        (Method::POST, "/mcp", "authorization,content-type,mcp-protocol-version,mcp-method,mcp-name", false),
        (Method::POST, "/mcp/", "authorization,content-type,mcp-protocol-version", false),
        (Method::POST, "/api/http", "authorization,content-type,mcp-protocol-version", false),
        (Method::GET, "/mcp", "authorization,last-event-id", false),
        (Method::DELETE, "/mcp", "authorization,mcp-session-id", false),
        (Method::GET, "/mcp/workspaces", "authorization", false),
        (Method::PATCH, "/mcp/workspaces/web/files", "authorization,content-type", false),
        (Method::POST, "/api/http/workspaces/web/execute", "authorization,content-type", false),
        (Method::POST, "/register", "content-type,mcp-protocol-version", false),
        (Method::POST, "/token", "authorization,mcp-protocol-version", false),
        (Method::POST, "/revoke", "authorization,mcp-protocol-version", false),
        (Method::POST, "/introspect", "authorization,mcp-protocol-version", false),
        (Method::GET, "/jwks.json", "mcp-protocol-version", true),
        (Method::GET, "/.well-known/oauth-protected-resource", "mcp-protocol-version", true),
        (Method::GET, "/.well-known/oauth-protected-resource/mcp", "mcp-protocol-version", true),
        (Method::GET, "/.well-known/oauth-protected-resource/api/http", "mcp-protocol-version", true),
        (Method::GET, "/.well-known/oauth-authorization-server", "mcp-protocol-version", true),
        (Method::GET, "/mcp/openapi.json", "authorization,mcp-protocol-version", true),
        (Method::GET, "/mcp/reference", "mcp-protocol-version", true),
        // Clients look for it first. Without the headers a page cannot tell that it is not there.
        (Method::GET, "/.well-known/openid-configuration", "mcp-protocol-version", true),
    ] {
        let preflight = server
            .request(Method::OPTIONS, path)
            .header("origin", origin)
            .header("access-control-request-method", method.as_str())
            .header("access-control-request-headers", headers)
            .send()
            .await
            .unwrap();
        assert!(preflight.status().is_success(), "{method} {path}: {}", preflight.status());
        let allowed = |response: &Response| header(response, "access-control-allow-origin").to_owned();
        let expected = if public { "*" } else { origin };
        assert_eq!(allowed(&preflight), expected, "{method} {path}");
        let methods = header(&preflight, "access-control-allow-methods");
        assert!(methods.split(',').any(|one| one == method.as_str()), "{method} {path}: {methods}");
        let names = header(&preflight, "access-control-allow-headers").to_lowercase();
        for name in headers.split(',') {
            assert!(names.split(',').any(|one| one == name), "{method} {path}: {name} is not in {names}");
        }
        assert_eq!(header(&preflight, "access-control-max-age"), "600", "{method} {path}");
        assert_eq!(header(&preflight, "access-control-allow-credentials"), "", "{method} {path}");

        // Refusals too can be read.
        let answer = server.request(method.clone(), path).header("origin", origin).send().await.unwrap();
        assert_eq!(allowed(&answer), expected, "{method} {path}: {}", answer.status());
    }
    // For a path that is for another method, as well.
    let wrong = server.request(Method::GET, "/token").header("origin", origin).send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!((header(&wrong, "allow"), header(&wrong, "access-control-allow-origin")), ("POST", origin));
    // Pages are for no other origin.
    let page = server.request(Method::OPTIONS, "/login").header("origin", origin).send().await.unwrap();
    assert_eq!(header(&page, "access-control-allow-origin"), "");
    let foreign = server
        .request(Method::OPTIONS, "/register")
        .header("origin", "https://evil.com")
        .header("access-control-request-method", "POST")
        .send()
        .await
        .unwrap();
    assert_eq!((foreign.status(), header(&foreign, "access-control-allow-origin")), (StatusCode::FORBIDDEN, ""));
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
