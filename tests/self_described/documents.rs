//! Metadata documents, and the keys that they name: found, kept, refreshed and given up.

use crate::self_described::{
    server::{Server, claims, client, sign, signer},
    web::{Page, Web},
};
use jiff::Timestamp;
use portcullis_config::{Clients, SigningKeys};
use portcullis_core::{
    Scope,
    authorization::{ClientPolicy, MetadataDocuments},
};
use portcullis_oauth::{
    client::{Client, ClientError, Origin},
    clients::{Directory, PublishedMetadata, ValidClient, registrar::Registrar},
};
use portcullis_state::Local;
use rand::{SeedableRng as _, rngs::StdRng};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

const ID: &str = "https://client.example.com/metadata";
const PLACE: &str = "client.example.com/metadata";
const START: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).unwrap()
}

fn document() -> Value {
    json!({"client_id": ID, "client_name": "An agent", "redirect_uris": ["http://127.0.0.1/callback"],
        "token_endpoint_auth_method": "none", "grant_types": ["authorization_code", "refresh_token"]})
}

fn policy() -> ClientPolicy {
    let documents =
        MetadataDocuments { allowed_hosts: vec!["client.example.com".to_owned()], scopes: vec![Scope::FilesRead] };
    ClientPolicy { metadata_documents: Some(documents), dynamic_registration: None }
}

fn directory(web: &Web, policy: ClientPolicy) -> Directory {
    let registrations = Arc::new(Local::memory(Arc::new(crate::self_described::clock::ManualClock::at(at(0)))));
    let keys = SigningKeys::generate(at(0), &mut StdRng::seed_from_u64(1)).unwrap();
    let registrar = Arc::new(Registrar::new(&keys).unwrap());
    Directory::new(
        Clients::default(),
        policy,
        registrations,
        Arc::new(PublishedMetadata::new(&web.outbound())),
        registrar,
    )
}

async fn web() -> Web {
    let web = Web::start(&["client.example.com", "keys.example.com"]).await;
    web.publish(PLACE, Page::json(&document()));
    web
}

async fn find(directory: &Directory, second: i64) -> Result<Arc<Client>, String> {
    directory.find(ID, at(second)).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_document_makes_a_client_with_what_the_policy_allows() {
    let web = web().await;
    let directory = directory(&web, policy());
    let client = find(&directory, 0).await.unwrap();
    assert_eq!(client.origin, Origin::Document { host: "client.example.com".to_owned() });
    assert_eq!((client.verifier.client_id.as_str(), client.verifier.display_name.as_str()), (ID, "An agent"));
    assert_eq!(client.verifier.redirect_uris, ["http://127.0.0.1/callback"]);
    let valid_client = directory.valid_client(ID, at(0)).unwrap();
    assert!(matches!(valid_client, ValidClient::Document(scopes) if scopes.iter().eq([&Scope::FilesRead])));
}

#[tokio::test]
async fn hosts_that_are_not_allowed_are_not_asked() {
    let web = web().await;
    let none = directory(&web, ClientPolicy::default());
    assert!(matches!(none.find(ID, at(0)).await, Err(ClientError::Unknown(_))));
    assert!(none.valid_client(ID, at(0)).is_none(), "taking a host off the list ends its clients");
    let some = directory(&web, policy());
    let other = "https://keys.example.com/metadata";
    assert!(matches!(some.find(other, at(0)).await, Err(ClientError::Document(_))));
    assert!(some.valid_client(other, at(0)).is_none());
    assert!(web.lookups().is_empty());
}

#[tokio::test]
async fn a_document_is_kept_as_long_as_its_server_says_within_bounds() {
    for (caching, fresh_for) in
        [("max-age=300", 300), ("no-store", 60), ("max-age=1", 60), ("max-age=31536000", 86_400), ("public", 3_600)]
    {
        let web = web().await;
        web.publish(PLACE, Page::json(&document()).with("cache-control", caching));
        let directory = directory(&web, policy());
        find(&directory, 0).await.unwrap();
        find(&directory, fresh_for - 1).await.unwrap();
        assert_eq!(web.hits(PLACE), 1, "{caching}");
        find(&directory, fresh_for).await.unwrap();
        assert_eq!(web.hits(PLACE), 2, "{caching}");
    }
}

#[tokio::test]
async fn many_who_want_the_same_document_fetch_it_once() {
    let web = web().await;
    let directory = Arc::new(directory(&web, policy()));
    let all: Vec<_> = (0..20)
        .map(|_| {
            let directory = Arc::clone(&directory);
            tokio::spawn(async move { find(&directory, 0).await.is_ok() })
        })
        .collect();
    for one in all {
        assert!(one.await.unwrap());
    }
    assert_eq!(web.hits(PLACE), 1);
}

#[tokio::test]
async fn an_outage_leaves_the_last_good_document_for_a_day_and_a_clear_no_ends_it() {
    let web = web().await;
    let directory = directory(&web, policy());
    find(&directory, 0).await.unwrap();
    web.publish(PLACE, Page::json(&json!({})).status(503));
    find(&directory, 4_000).await.unwrap();
    find(&directory, 4_009).await.unwrap();
    assert_eq!(web.hits(PLACE), 2, "not asked again for some seconds");
    find(&directory, 4_010).await.unwrap();
    assert_eq!(web.hits(PLACE), 3);
    assert!(find(&directory, 86_400).await.unwrap_err().contains("503"), "a day is enough");

    web.publish(PLACE, Page::json(&document()));
    find(&directory, 90_000).await.unwrap();
    web.publish(PLACE, Page::json(&json!({})).status(404));
    assert!(find(&directory, 94_000).await.unwrap_err().contains("404"), "it is gone");

    web.publish(PLACE, Page::json(&document()));
    find(&directory, 95_000).await.unwrap();
    let mut shared_secret = document();
    shared_secret["token_endpoint_auth_method"] = json!("client_secret_post");
    web.publish(PLACE, Page::json(&shared_secret));
    assert!(find(&directory, 99_000).await.unwrap_err().contains("none or private_key_jwt"));
}

#[tokio::test]
async fn a_failure_is_not_kept_but_left_alone_for_some_seconds() {
    let web = web().await;
    let directory = directory(&web, policy());
    web.publish(PLACE, Page::json(&json!({"client_id": "https://client.example.com/other"})));
    assert!(find(&directory, 0).await.unwrap_err().contains("not exactly its own URL"));
    web.publish(PLACE, Page::json(&document()));
    assert!(find(&directory, 9).await.is_err());
    assert_eq!(web.hits(PLACE), 1);
    find(&directory, 10).await.unwrap();
}

#[tokio::test]
async fn a_document_client_is_known_at_the_token_endpoint() {
    let web = web().await;
    let server = Server::start(policy(), Vec::new(), &web).await;
    let metadata = server.metadata().await;
    assert_eq!(metadata["client_id_metadata_document_supported"], json!(true));
    let ask = async |id: &str| server.token(&[("grant_type", "authorization_code"), ("client_id", id)]).await;
    let (status, answer) = ask(ID).await;
    // Past the client's authentication: what is missing now is the code.
    assert_eq!(
        (status, answer["error_description"].as_str().unwrap()),
        (StatusCode::BAD_REQUEST, "the parameter code is missing")
    );
    let (status, answer) = ask("https://client.example.com/nothing").await;
    assert_eq!((status, answer["error"].as_str().unwrap()), (StatusCode::UNAUTHORIZED, "invalid_client"));
}

#[tokio::test]
async fn a_document_client_with_keys_must_sign() {
    let web = web().await;
    let ours = signer("1");
    let mut signs = document();
    signs["token_endpoint_auth_method"] = json!("private_key_jwt");
    signs["jwks_uri"] = json!("https://keys.example.com/jwks");
    web.publish(PLACE, Page::json(&signs));
    web.publish("keys.example.com/jwks", Page::json(&json!({"keys": [ours.jwk]})));
    let server = Server::start(policy(), Vec::new(), &web).await;
    let (status, answer) = server.token(&[("grant_type", "authorization_code"), ("client_id", ID)]).await;
    assert_eq!((status, &answer["error"]), (StatusCode::UNAUTHORIZED, &json!("invalid_client")));
    let assertion = sign(&ours, &claims(ID, &server.issuer, "1"));
    let (_, answer) = server.asserting(&assertion, &[("grant_type", "authorization_code")]).await;
    assert_eq!(answer["error_description"], json!("the parameter code is missing"), "it is who it says");
}

#[tokio::test]
async fn a_configured_client_signs_with_keys_that_it_publishes_and_rotates() {
    let web = web().await;
    let (first, second) = (signer("1"), signer("2"));
    let place = "keys.example.com/jwks";
    web.publish(place, Page::json(&json!({"keys": [first.jwk]})));
    let mut agent = client("agent");
    agent.private_key_jwt = Some(serde_json::from_value(json!({"jwksUri": "https://keys.example.com/jwks"})).unwrap());
    let server = Server::start(ClientPolicy::default(), vec![agent], &web).await;
    let metadata = server.metadata().await;
    let methods = metadata["token_endpoint_auth_methods_supported"].as_array().unwrap();
    assert!(methods.contains(&json!("private_key_jwt")), "{methods:?}");
    assert_eq!(
        metadata["token_endpoint_auth_signing_alg_values_supported"],
        json!(["ES256", "ES384", "EdDSA", "RS256", "PS256"])
    );

    let ask = async |assertion: &str| server.asserting(assertion, &[("grant_type", "client_credentials")]).await;
    let assertion = sign(&first, &claims("agent", &server.issuer, "1"));
    let (status, answer) = ask(&assertion).await;
    assert_eq!((status, &answer["token_type"]), (StatusCode::OK, &json!("Bearer")), "{answer}");
    let (status, answer) = ask(&assertion).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(answer["error_description"].as_str().unwrap().contains("used before"), "{answer}");
    assert_eq!(web.hits(place), 1, "keys are kept");

    // A key that is not there yet: asked for again, but not each time.
    web.publish(place, Page::json(&json!({"keys": [first.jwk, second.jwk]})));
    let of_second = |jti: &str| sign(&second, &claims("agent", &server.issuer, jti));
    assert_eq!(ask(&of_second("2")).await.0, StatusCode::UNAUTHORIZED, "fetched a moment ago");
    assert_eq!(web.hits(place), 1);
    server.clock.set(at(31));
    assert_eq!(ask(&of_second("3")).await.0, StatusCode::OK);
    assert_eq!(web.hits(place), 2);

    let (status, answer) = server
        .token(&[
            ("grant_type", "client_credentials"),
            ("client_assertion", &of_second("4")),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"),
        ])
        .await;
    assert_eq!((status, &answer["error"]), (StatusCode::UNAUTHORIZED, &json!("invalid_client")));
    let (status, _) = server
        .asserting(
            &of_second("5"),
            &[("grant_type", "client_credentials"), ("client_secret", "x"), ("client_id", "agent")],
        )
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "two proofs at once");
}
