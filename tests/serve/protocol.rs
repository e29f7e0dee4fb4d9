//! What a client meets: challenge, discovery, tokens, and an answer.

use crate::serve::{
    mounted::Files,
    stage::{PATIENCE, SECRET, Server, clients, header, keys, ping, secret, start_of_time},
};
use jiff::SignedDuration;
use portcullis_config::Clients;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

#[tokio::test]
async fn a_client_finds_its_way_from_the_challenge_to_an_answer() {
    let server = Server::start().await;
    let origin = format!("http://{}", server.address);

    let refused = server.request(Method::POST, "/mcp").json(&ping()).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let metadata_url = format!("{origin}/.well-known/oauth-protected-resource/mcp");
    let challenge = header(&refused, "www-authenticate");
    assert!(challenge.starts_with("Bearer ") && !challenge.contains("error="), "{challenge}");
    assert!(challenge.contains(&format!("resource_metadata=\"{metadata_url}\"")), "{challenge}");
    assert!(challenge.contains("scope=\"workspaces:read "), "{challenge}");

    let resource: Value = server.http.get(&metadata_url).send().await.unwrap().json().await.unwrap();
    assert_eq!(resource["resource"], format!("{origin}/mcp"));
    assert_eq!(resource["authorization_servers"], json!([origin]));
    let path = "/.well-known/oauth-authorization-server";
    let issuer: Value = server.request(Method::GET, path).send().await.unwrap().json().await.unwrap();
    assert_eq!(issuer["issuer"], origin);
    assert_eq!(issuer["grant_types_supported"], json!(["client_credentials"]));
    for (endpoint, error) in [
        ("token_endpoint", "invalid_request"),
        ("revocation_endpoint", "invalid_client"),
        ("introspection_endpoint", "invalid_client"),
    ] {
        let url = issuer[endpoint].as_str().unwrap();
        let empty = server.http.post(url).form(&[("token", "x")]).send().await.unwrap();
        assert_eq!((endpoint, header(&empty, "cache-control")), (endpoint, "no-store"));
        assert_eq!(empty.json::<Value>().await.unwrap()["error"], error, "{endpoint}");
        assert_eq!(server.http.get(url).send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED, "{endpoint}");
    }
    let sign_in = server.http.get(issuer["authorization_endpoint"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(sign_in.status(), StatusCode::BAD_REQUEST);
    assert!(sign_in.text().await.unwrap().contains("client_id"), "a page says what is missing");

    let answer = server
        .http
        .post(issuer["token_endpoint"].as_str().unwrap())
        .basic_auth("agent", Some(SECRET.replace(' ', "+")))
        .form(&[("grant_type", "client_credentials"), ("resource", resource["resource"].as_str().unwrap())])
        .send()
        .await
        .unwrap();
    assert_eq!(header(&answer, "cache-control"), "no-store");
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(900)));

    let token = answer["access_token"].as_str().unwrap();
    let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let jwks: Value = server.http.get(issuer["jwks_uri"].as_str().unwrap()).send().await.unwrap().json().await.unwrap();
    assert_eq!((jwks["keys"][0]["kid"].as_str(), jwks["keys"][0].get("d")), (Some(kid.as_str()), None));

    let called = server.call(token, &ping()).send().await.unwrap();
    assert_eq!(called.status(), StatusCode::OK);
    assert_eq!(called.json::<Value>().await.unwrap(), json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
    server.stop().await;
}

#[tokio::test]
async fn head_and_get_answer_sensibly() {
    let server = Server::start().await;
    let token = server.token().await;
    for (method, path, authenticated, status, allow) in [
        (Method::HEAD, "/mcp", false, 401, ""),
        (Method::GET, "/mcp", false, 401, ""),
        (Method::HEAD, "/mcp", true, 405, "POST"),
        (Method::GET, "/mcp", true, 405, "POST"),
        (Method::DELETE, "/mcp", true, 405, "POST"),
        (Method::HEAD, "/token", false, 405, "POST"),
        (Method::GET, "/token", false, 405, "POST"),
        (Method::HEAD, "/jwks.json", false, 200, ""),
        (Method::POST, "/jwks.json", false, 405, "GET,HEAD"),
        (Method::HEAD, "/.well-known/oauth-protected-resource", false, 200, ""),
        (Method::GET, "/nowhere", false, 404, ""),
        (Method::GET, "/mcpx", false, 404, ""),
    ] {
        let mut request = server.request(method.clone(), path);
        if authenticated {
            request = request.bearer_auth(&token);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
        assert_eq!(header(&response, "allow"), allow, "{method} {path}");
        assert_eq!(!header(&response, "www-authenticate").is_empty(), status == 401, "{method} {path}");
        if status != 200 && method != Method::HEAD {
            let body: Value = response.json().await.unwrap();
            assert!(body.get("error").is_some(), "{method} {path}: {body}");
        }
    }
    // Below it is the HTTP interface, which asks who is there before it says what is.
    let below = server.request(Method::GET, "/mcp/workspaces").send().await.unwrap();
    assert_eq!(
        (below.status(), header(&below, "content-type")),
        (StatusCode::UNAUTHORIZED, "application/problem+json")
    );
    let browser = server.request(Method::GET, "/mcp").header("accept", "text/html,*/*").send().await.unwrap();
    assert_eq!(browser.status(), StatusCode::UNAUTHORIZED);
    assert!(!header(&browser, "www-authenticate").is_empty(), "programs that accept HTML get the challenge too");
    assert!(header(&browser, "content-type").starts_with("text/html"));
    assert!(browser.text().await.unwrap().contains("Connect an agent"));
    let unknown = server.request(Method::GET, "/nowhere").header("accept", "text/html,*/*").send().await.unwrap();
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert!(unknown.text().await.unwrap().contains("There is no such page"));
    server.stop().await;
}

#[tokio::test]
async fn a_slash_at_the_end_of_the_url_makes_no_other_endpoint() {
    let server = Server::start().await;
    let refused = server.request(Method::POST, "/mcp/").json(&ping()).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(header(&refused, "www-authenticate").contains("/.well-known/oauth-protected-resource/mcp\""));
    assert!(refused.json::<Value>().await.unwrap().get("jsonrpc").is_some());
    let metadata = server.request(Method::GET, "/.well-known/oauth-protected-resource/mcp/").send().await.unwrap();
    assert_eq!(metadata.json::<Value>().await.unwrap()["resource"], format!("http://{}/mcp", server.address));

    let form = [("grant_type", "client_credentials"), ("client_id", "agent"), ("client_secret", SECRET)];
    let resource = format!("http://{}/mcp/", server.address);
    let form = [&form[..], &[("resource", resource.as_str())]].concat();
    let answer: Value = server.request(Method::POST, "/token").form(&form).send().await.unwrap().json().await.unwrap();
    let token = answer["access_token"].as_str().unwrap();
    let called = server.request(Method::POST, "/mcp/").bearer_auth(token).json(&ping()).send().await.unwrap();
    assert_eq!(called.status(), StatusCode::OK);
    assert_eq!(called.json::<Value>().await.unwrap(), json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
    let get = server.request(Method::GET, "/mcp/").bearer_auth(token).send().await.unwrap();
    assert_eq!((get.status(), header(&get, "allow")), (StatusCode::METHOD_NOT_ALLOWED, "POST"));
    server.stop().await;
}

#[tokio::test]
async fn another_scheme_is_no_bad_token() {
    let server = Server::start().await;
    for value in ["Basic abc", "Basic", "Digest username=\"a\"", "Negotiate"] {
        let refused =
            server.request(Method::POST, "/mcp").header("authorization", value).json(&ping()).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        let challenge = header(&refused, "www-authenticate");
        assert!(challenge.starts_with("Bearer ") && !challenge.contains("error"), "{value}: {challenge}");
        assert!(challenge.contains("resource_metadata="), "{value}: {challenge}");
    }
    server.stop().await;
}

#[tokio::test]
async fn tokens_that_do_not_count_get_the_right_challenge() {
    let server = Server::start().await;
    let token = server.token().await;
    let (message, _) = token.rsplit_once('.').unwrap();
    let challenge = async |token: &str| {
        let response = server.call(token, &ping()).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let challenge = header(&response, "www-authenticate").to_owned();
        assert!(challenge.contains("error=\"invalid_token\"") && challenge.contains("resource_metadata="));
        let body: Value = response.json().await.unwrap();
        assert_eq!((&body["jsonrpc"], &body["id"]), (&json!("2.0"), &Value::Null));
        challenge
    };
    assert!(challenge("junk").await.contains("malformed"));
    let metrics = server.private("/metrics").await.text().await.unwrap();
    for line in [
        "portcullis_authentication_failures_total{reason=\"malformed\"} 1\n",
        "portcullis_requests_total{route=\"Mcp\",status=\"401\"} 1\n",
        "portcullis_token_requests_total{outcome=\"issued\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));
    assert!(challenge(&format!("{message}.")).await.contains("signature"));

    assert_eq!(server.call(&token, &ping()).send().await.unwrap().status(), StatusCode::OK);
    server.clock.set(start_of_time() + SignedDuration::from_secs(900));
    assert!(challenge(&token).await.contains("expired"));
    server.clock.set(start_of_time());
    assert_eq!(server.call(&token, &ping()).send().await.unwrap().status(), StatusCode::OK);

    server.replace(&Files::new(&server.config, &Clients::default(), &keys(1))).await;
    assert!(challenge(&token).await.contains("no longer registered"), "though its token is remembered");
    server.replace(&Files::new(&server.config, &clients(vec![secret(SECRET)]), &keys(2))).await;
    assert!(challenge(&token).await.contains("a key that this endpoint does not hold"));
    server.stop().await;
}

#[tokio::test]
async fn a_refused_request_leaves_its_connection_usable() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let body = ping().to_string();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        server.address,
        body.len()
    );
    // Head and body in two packets, as Python's clients send them. The refusal needs the head only.
    for _ in 0..3 {
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await.unwrap().unwrap();
            assert_ne!(read, 0, "closed after {}", String::from_utf8_lossy(&answer));
        }
        assert!(answer.starts_with(b"HTTP/1.1 401"), "{}", String::from_utf8_lossy(&answer));
    }

    // One that does not come to its end is not waited for; the client is told that the connection closes.
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    server.stop().await;
}

/// The schema of SEP-2127: `schema.json` of modelcontextprotocol/experimental-ext-server-card at 8924e08 (Apache-2.0).
const SERVER_CARD_SCHEMA: &str = include_str!("server-card.schema.json");

#[tokio::test]
async fn programs_find_the_server_card_through_the_catalog() {
    let server = Server::start().await;
    let origin = format!("http://{}", server.address);
    let catalog = server.request(Method::GET, "/.well-known/ai-catalog.json").send().await.unwrap();
    assert_eq!(header(&catalog, "content-type"), "application/ai-catalog+json");
    assert_eq!(header(&catalog, "access-control-allow-origin"), "*");
    let catalog: Value = catalog.json().await.unwrap();
    assert_eq!((&catalog["specVersion"], catalog["entries"].as_array().unwrap().len()), (&json!("1.0"), 1));
    let entry = &catalog["entries"][0];
    assert_eq!(entry["type"], "application/mcp-server-card+json");
    assert_eq!(entry["url"], format!("{origin}/mcp/server-card"));
    assert!(entry["identifier"].as_str().unwrap().starts_with("urn:air:"), "{entry}");

    let get = || server.http.get(entry["url"].as_str().unwrap());
    let response = get().send().await.unwrap();
    assert_eq!(header(&response, "content-type"), "application/mcp-server-card+json");
    let tag = header(&response, "etag").to_owned();
    let card: Value = response.json().await.unwrap();
    let schema = jsonschema::draft202012::new(&serde_json::from_str(SERVER_CARD_SCHEMA).unwrap()).unwrap();
    let errors: Vec<String> = schema.iter_errors(&card).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(card["remotes"][0]["url"], format!("{origin}/mcp"));

    // The card agrees with what the server says of itself.
    let token = server.token().await;
    let initialize = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    });
    let answer: Value = server.call(&token, &initialize).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["result"]["serverInfo"]["version"], card["version"], "{answer}");
    let versions = &card["remotes"][0]["supportedProtocolVersions"];
    assert!(versions.as_array().unwrap().contains(&answer["result"]["protocolVersion"]), "{answer}");

    for (known, status) in [(tag.clone(), 304), (format!("\"x\", W/{tag}"), 304), ("\"x\"".to_owned(), 200)] {
        assert_eq!(get().header("if-none-match", &known).send().await.unwrap().status(), status, "{known}");
    }
    server.stop().await;
}
