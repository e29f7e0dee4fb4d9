//! Logins and agents of `portcullis dev` that cannot work: identity providers and metadata documents that do not answer.

use crate::{
    dev::Dev,
    examined::{cause, report, without_credentials},
};
use axum::{Json, Router, routing::get};
use portcullis_doctor::{Code, Finding, Report, Target};
use serde_json::json;
use std::fs;
use tokio::net::TcpListener;

/// A loopback address at which nothing listens.
const CLOSED: &str = "http://127.0.0.1:1";

/// An endpoint with the rest of its spec.
fn endpoint(spec: &str) -> String {
    format!(
        "
apiVersion: portcullis.dev/v1alpha1
kind: McpEndpoint
metadata: {{name: agents}}
spec:
  url: https://mcp.example.com/mcp
{spec}"
    )
}

/// The only login is a provider with this issuer.
fn with_provider(issuer: &str) -> String {
    let login = format!("  login: [{{name: sso, oidc: {{issuerUrl: {issuer:?}, clientSecretRef: {{name: sso}}}}}}]\n");
    let secret = "---
apiVersion: v1
kind: Secret
metadata: {name: sso, labels: {portcullis.dev/endpoint: agents}}
stringData: {client-id: portcullis, client-secret: a secret of the provider}
";
    endpoint(&login) + secret
}

/// The examination of `portcullis dev` with these manifests.
async fn examined(manifests: &str, client_metadata: &[&str]) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let (file, state) = (folder.path().join("endpoint.yaml"), folder.path().join("state"));
    fs::write(&file, manifests).unwrap();
    let dev = Dev::serve(&file, &state);
    let client_metadata = client_metadata.iter().map(|url| (*url).to_owned()).collect();
    report(&Target { client_metadata, ..without_credentials(&dev.url()) }).await
}

fn with_code(report: &Report, code: Code) -> &Finding {
    report.findings().iter().find(|finding| finding.code() == Some(code)).unwrap_or_else(|| panic!("{report}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down() {
    let report = examined(&with_provider(CLOSED), &[]).await;
    assert_eq!(cause(&report), Some(Code::ProviderUnreachable), "{report}");
    let seen = &with_code(&report, Code::ProviderUnreachable).seen;
    assert!(seen.starts_with("the identity provider of the login \"sso\" does not answer"), "{seen}");
}

/// The provider answers the endpoint, and its page does not answer this machine.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_provider_that_is_down() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let document = json!({
        "issuer": issuer, "authorization_endpoint": format!("{CLOSED}/authorize"), "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    let app = Router::new()
        .route("/.well-known/openid-configuration", get(move || std::future::ready(Json(document.clone()))));
    let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let report = examined(&with_provider(&issuer), &[]).await;
    assert_eq!(cause(&report), None, "{report}");
    assert!(with_code(&report, Code::ProviderPageUnreachable).seen.contains("127.0.0.1"), "{report}");
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_documents_that_the_endpoint_does_not_read() {
    let document = "https://agents.example/client.json";
    for (spec, code) in [
        // The name of the host has no address.
        ("", Code::ClientMetadataUnreadable),
        ("  clients: {metadataDocuments: {allowedHosts: [claude.ai]}}\n", Code::ClientMetadataNotAllowed),
        ("  clients: {dynamicRegistration: {}}\n", Code::ClientMetadataNotAllowed),
    ] {
        let report = examined(&endpoint(spec), &[document]).await;
        assert_eq!(cause(&report), Some(code), "{spec}: {report}");
        assert_eq!(with_code(&report, code).subject.as_deref(), Some(document), "{report}");
    }
}
