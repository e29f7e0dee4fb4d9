//! `POST /register` (RFC 7591) at a real server.

use crate::self_described::{server::Server, web::Web};
use portcullis_core::{
    Scope,
    authorization::{ClientPolicy, DynamicRegistration},
    quantity::Span,
};
use reqwest::{StatusCode, header};
use serde_json::{Value, json};

fn policy(max_clients: u32) -> ClientPolicy {
    let registration =
        DynamicRegistration { lifetime: Span::from_secs(3600), max_clients, scopes: vec![Scope::FilesRead] };
    ClientPolicy { metadata_documents: None, dynamic_registration: Some(registration) }
}

fn cursor() -> Value {
    json!({"client_name": "Cursor", "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        "redirect_uris": ["cursor://anysphere.cursor-mcp/oauth/callback",
            "https://www.cursor.com/agents/mcp/oauth/callback", "http://localhost:8787/callback"]})
}

async fn start(policy: ClientPolicy) -> Server {
    Server::start(policy, Vec::new(), &Web::start(&["client.example.com"]).await).await
}

async fn register(server: &Server, metadata: &Value) -> (StatusCode, Value) {
    register_from(server, "192.0.2.1", metadata).await
}

async fn register_from(server: &Server, address: &str, metadata: &Value) -> (StatusCode, Value) {
    let request = server.http.post(server.url("/register")).header("x-forwarded-for", address).json(metadata);
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

#[tokio::test]
async fn it_is_off_unless_the_administrator_wants_it() {
    let server = start(ClientPolicy::default()).await;
    assert_eq!(register(&server, &cursor()).await.0, StatusCode::NOT_FOUND);
    let metadata = server.metadata().await;
    assert!(metadata.get("registration_endpoint").is_none());
    assert_eq!(metadata["client_id_metadata_document_supported"], json!(false));
}

#[tokio::test]
async fn a_client_registers_and_is_known_until_its_registration_ends() {
    let server = start(policy(10)).await;
    assert_eq!(server.metadata().await["registration_endpoint"], json!(server.url("/register")));
    let response = server.http.post(server.url("/register")).json(&cursor()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let mut answer: Value = response.json().await.unwrap();
    let id = answer["client_id"].take().as_str().unwrap().to_owned();
    assert!(id.starts_with("dyn-") && id.len() == 36, "{id}");
    assert_eq!(
        answer,
        json!({"client_id": null, "client_id_issued_at": 1_800_000_000, "client_name": "Cursor",
            "redirect_uris": cursor()["redirect_uris"], "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"], "token_endpoint_auth_method": "none", "scope": "files:read"}),
        "no secret and no registration_access_token"
    );
    let ask = async || server.token(&[("grant_type", "authorization_code"), ("client_id", &id)]).await;
    assert_eq!(ask().await.1["error_description"], json!("the parameter code is missing"), "it is a client");
    let (_, answer) = server.token(&[("grant_type", "client_credentials"), ("client_id", &id)]).await;
    assert_eq!(answer["error"], json!("unauthorized_client"));
    server.clock.set("2027-01-15T09:00:00Z".parse().unwrap());
    assert_eq!(ask().await.1["error"], json!("invalid_client"), "its time is over");
}

#[tokio::test]
async fn metadata_that_are_wrong_in_one_thing_are_refused_with_the_code_of_the_rfc() {
    let redirect = |uri: &str| json!({"redirect_uris": [uri]});
    let rows = [
        (redirect("javascript:alert(1)"), "invalid_redirect_uri"),
        (redirect("http://agent.example.com/callback"), "invalid_redirect_uri"),
        (redirect("https://agent.example.com/{id}"), "invalid_redirect_uri"),
        (redirect("https://agent.example.com/#f"), "invalid_redirect_uri"),
        (json!({"redirect_uris": []}), "invalid_redirect_uri"),
        (json!({"redirect_uris": null}), "invalid_redirect_uri"),
        (json!({"redirect_uris": "https://agent.example.com/"}), "invalid_client_metadata"),
        (json!({"grant_types": ["client_credentials"]}), "invalid_client_metadata"),
        (json!({"grant_types": ["implicit"]}), "invalid_client_metadata"),
        (json!({"grant_types": ["urn:ietf:params:oauth:grant-type:device_code"]}), "invalid_client_metadata"),
        (json!({"response_types": ["token"]}), "invalid_client_metadata"),
        (json!({"token_endpoint_auth_method": "private_key_jwt"}), "invalid_client_metadata"),
        (json!({"client_name": 7}), "invalid_client_metadata"),
    ];
    let server = start(policy(10)).await;
    for (index, (change, expected)) in rows.into_iter().enumerate() {
        let mut metadata = cursor();
        metadata.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        // Each from an address of its own, so that the rate does not come in between.
        let response = server
            .http
            .post(server.url("/register"))
            .header("x-forwarded-for", format!("198.51.100.{index}"))
            .json(&metadata)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{change}");
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["error"], json!(expected), "{change}: {answer}");
    }
    let post = |body: String, kind: &'static str, from: &'static str| {
        let request = server.http.post(server.url("/register")).header("x-forwarded-for", from);
        request.header(header::CONTENT_TYPE, kind).body(body).send()
    };
    for (body, kind, expected) in [
        (cursor().to_string(), "text/plain", StatusCode::BAD_REQUEST),
        ("not json".to_owned(), "application/json", StatusCode::BAD_REQUEST),
        ("[]".to_owned(), "application/json", StatusCode::BAD_REQUEST),
        (r#"["x",["http://localhost/cb"],null,null,null]"#.to_owned(), "application/json", StatusCode::BAD_REQUEST),
        (format!("{{\"x\": \"{}\"}}", "x".repeat(16 << 10)), "application/json", StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        assert_eq!(post(body, kind, "198.51.100.200").await.unwrap().status(), expected);
    }
    let surrogate = cursor().to_string().replace("\"Cursor\"", r#""\ud800""#);
    let answer = post(surrogate, "application/json", "198.51.100.201").await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["error"], json!("invalid_client_metadata"));
    assert!(answer["error_description"].as_str().unwrap().contains("lone surrogate"), "{answer}");
    // Of what else a client can do elsewhere, the part that is for here is registered.
    let mut metadata = cursor();
    metadata["grant_types"] = json!([
        "authorization_code",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:device_code",
        "client_credentials"
    ]);
    metadata["response_types"] = json!(["code", "token"]);
    let (status, answer) = register_from(&server, "198.51.100.202", &metadata).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    assert_eq!(answer["grant_types"], json!(["authorization_code", "refresh_token"]));
    assert_eq!(answer["response_types"], json!(["code"]));
    // Asking for a secret is answered with none.
    let mut metadata = cursor();
    metadata["token_endpoint_auth_method"] = json!("client_secret_basic");
    let (status, answer) = register(&server, &metadata).await;
    assert_eq!((status, &answer["token_endpoint_auth_method"]), (StatusCode::CREATED, &json!("none")));
    assert!(answer.get("client_secret").is_none());
}

#[tokio::test]
async fn there_is_a_most_of_clients_and_of_clients_per_minute() {
    let server = start(policy(3)).await;
    let mut ids = std::collections::BTreeSet::new();
    for address in ["198.51.100.1", "198.51.100.2", "198.51.100.3"] {
        let (status, answer) = register_from(&server, address, &cursor()).await;
        assert_eq!(status, StatusCode::CREATED);
        assert!(ids.insert(answer["client_id"].as_str().unwrap().to_owned()));
    }
    let (status, answer) = register(&server, &cursor()).await;
    assert_eq!((status, &answer["error"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("temporarily_unavailable")));
    let mut last = StatusCode::OK;
    for _ in 0..10 {
        last = register(&server, &cursor()).await.0;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);

    // The oldest that nobody approved makes room; those whose time is over take no place.
    server.clock.set("2027-01-15T08:10:01Z".parse().unwrap());
    assert_eq!(register_from(&server, "198.51.100.4", &cursor()).await.0, StatusCode::CREATED);
    let ask = async |id: &str| server.token(&[("grant_type", "authorization_code"), ("client_id", id)]).await.1;
    let known = async |id: &str| ask(id).await["error"] != json!("invalid_client");
    let mut left = Vec::new();
    for id in &ids {
        left.extend(known(id).await.then_some(id));
    }
    assert_eq!(left.len(), 2);
    server.clock.set("2027-01-15T09:00:00Z".parse().unwrap());
    assert_eq!(register_from(&server, "198.51.100.1", &cursor()).await.0, StatusCode::CREATED);
}
