//! The real server behind proxies, each of which does one thing wrong.

use crate::{
    examined::{ORIGIN, cause, expect_cause, report, target},
    front::{Fault, Front, Running, Seen, page, redirect},
    serve::stage::{SECRET, Server},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use portcullis_doctor::{Code, Severity};

const RESOURCE_METADATA: &str = "/.well-known/oauth-protected-resource";
const ISSUER_METADATA: &str = "/.well-known/oauth-authorization-server";

/// A server behind a proxy with this fault, whose URL is that of the proxy.
async fn behind(fault: Fault) -> (Server, Running, String) {
    let front = Front::bind(None).await;
    let (origin, url) = (front.origin(), front.url());
    let server = Server::with(|config| {
        config.url = config.url.at_origin(&origin);
        config.cors.allowed_origins = vec![ORIGIN.to_owned()];
    })
    .await;
    let running = front.pass_to(server.address, fault);
    (server, running, url)
}

#[tokio::test]
async fn a_good_proxy_has_no_problem() {
    let (server, _running, url) = behind(Fault::NONE).await;
    let report = report(&target(&url, SECRET)).await;
    for finding in report.findings() {
        assert_eq!(finding.severity(), Severity::Ok, "{report}");
    }
    server.stop().await;
}

/// Replaces the response to requests for paths that begin like this.
macro_rules! at {
    ($path:expr, |$seen:ident, $response:ident| $replaced:expr) => {
        Fault::of_response(|$seen, $response| if $seen.path.starts_with($path) { $replaced } else { $response })
    };
    ($path:expr, $replaced:expr) => {
        Fault::of_response(|seen, response| if seen.path.starts_with($path) { $replaced } else { response })
    };
}

/// Changes the text of documents.
fn rewritten(response: Response<Bytes>, from: &str, to: &str) -> Response<Bytes> {
    response.map(|body| String::from_utf8_lossy(&body).replace(from, to).into())
}

fn without(mut response: Response<Bytes>, name: &str) -> Response<Bytes> {
    response.headers_mut().remove(name);
    response
}

fn with(mut response: Response<Bytes>, name: &'static str, value: &'static str) -> Response<Bytes> {
    response.headers_mut().insert(name, value.parse().unwrap());
    response
}

fn is_preflight(seen: &Seen) -> bool {
    seen.method == Method::OPTIONS
}

/// Faults, each with the code that must be the first failure.
type Faults = Vec<(Code, Fault)>;

/// Requests do not reach the endpoint, or lose the challenge.
fn routing() -> Faults {
    vec![
        (Code::RedirectToOtherHost, at!("/mcp", redirect("https://sso.example.com/login?next=/mcp"))),
        (Code::RedirectToOtherPath, at!("/mcp", redirect("/mcp/"))),
        (Code::ForbiddenByProxy, at!("/", page(StatusCode::FORBIDDEN))),
        (Code::PathNotRouted, at!("/mcp", page(StatusCode::NOT_FOUND))),
        (
            Code::PathUnknown,
            Fault::of_request(|request| {
                if request.uri().path() == "/mcp" {
                    *request.uri_mut() = "/".parse().unwrap();
                }
            }),
        ),
        (Code::RateLimited, at!("/mcp", page(StatusCode::TOO_MANY_REQUESTS))),
        (Code::NoServer, at!("/", page(StatusCode::SERVICE_UNAVAILABLE))),
        (Code::ServerError, at!("/mcp", page(StatusCode::INTERNAL_SERVER_ERROR))),
        (Code::NotAnMcpEndpoint, at!("/", page(StatusCode::OK))),
        (Code::ClockSkew, Fault::of_response(|_, response| with(response, "date", "Fri, 15 Jan 2016 08:00:00 GMT"))),
        (Code::ChallengeMissing, Fault::of_response(|_, response| without(response, "www-authenticate"))),
        (
            Code::ChallengeNotBearer,
            Fault::of_response(|seen, response| {
                let asked = with(page(StatusCode::UNAUTHORIZED), "www-authenticate", "Basic realm=\"staging\"");
                if seen.headers.contains_key(header::AUTHORIZATION) { response } else { asked }
            }),
        ),
        (
            Code::ChallengeWithoutMetadata,
            at!("/mcp", |seen, response| with(response, "www-authenticate", "Bearer realm=\"gateway\"")),
        ),
    ]
}

/// Documents are missing or changed.
fn documents() -> Faults {
    vec![
        (Code::ResourceMetadataNotRouted, at!("/.well-known", page(StatusCode::NOT_FOUND))),
        (Code::ResourceMetadataInvalid, at!(RESOURCE_METADATA, page(StatusCode::OK))),
        (Code::ResourceMismatch, at!(RESOURCE_METADATA, |seen, response| rewritten(response, "/mcp\"", "/mcp/\""))),
        (Code::IssuerMetadataNotRouted, at!(ISSUER_METADATA, page(StatusCode::NOT_FOUND))),
        (
            Code::IssuerMismatch,
            at!(ISSUER_METADATA, |seen, response| rewritten(response, &seen.origin, "http://127.0.0.1")),
        ),
        (
            Code::EndpointElsewhere,
            at!(ISSUER_METADATA, |seen, response| rewritten(
                response,
                &format!("{}/token", seen.origin),
                "http://127.0.0.1/token"
            )),
        ),
        (Code::PkceMissing, at!(ISSUER_METADATA, |seen, response| rewritten(response, "S256", "plain"))),
        (Code::JwksUnavailable, at!("/jwks.json", page(StatusCode::NOT_FOUND))),
    ]
}

/// Browsers refuse the responses.
fn pages() -> Faults {
    vec![
        (
            Code::CorsPreflightRefused,
            Fault::of_response(
                |seen, response| {
                    if is_preflight(seen) { page(StatusCode::UNAUTHORIZED) } else { response }
                },
            ),
        ),
        (
            Code::CorsPreflightIncomplete,
            Fault::of_response(|_, response| {
                if response.headers().contains_key("access-control-allow-headers") {
                    return with(response, "access-control-allow-headers", "content-type");
                }
                response
            }),
        ),
        (
            Code::CorsAnswerMissing,
            Fault::of_response(|seen, response| {
                if is_preflight(seen) { response } else { without(response, "access-control-allow-origin") }
            }),
        ),
        (
            Code::CorsDuplicate,
            Fault::of_response(|_, mut response| {
                response.headers_mut().append("access-control-allow-origin", "*".parse().unwrap());
                response
            }),
        ),
    ]
}

/// Credentials or messages are lost or changed.
fn messages() -> Faults {
    vec![
        (Code::TokenNotRouted, at!("/token", page(StatusCode::NOT_FOUND))),
        (
            Code::AuthorizationStripped,
            Fault::of_request(|request| {
                request.headers_mut().remove(header::AUTHORIZATION);
            }),
        ),
        (
            Code::AuthorizationStripped,
            Fault::of_request(|request| {
                if request.uri().path() == "/mcp" {
                    request.headers_mut().remove(header::AUTHORIZATION);
                }
            }),
        ),
        (
            Code::TokenRefused,
            Fault::of_request(|request| {
                if request.uri().path() == "/mcp" && request.headers().contains_key(header::AUTHORIZATION) {
                    request.headers_mut().insert(header::AUTHORIZATION, "Bearer another".parse().unwrap());
                }
            }),
        ),
        (
            Code::HostRewritten,
            Fault::of_request(|request| {
                request.headers_mut().insert(header::HOST, "agents.default.svc".parse().unwrap());
            }),
        ),
        (
            Code::McpFailed,
            Fault::of_request(|request| {
                if request.headers().contains_key(header::AUTHORIZATION) && request.uri().path() == "/mcp" {
                    *request.body_mut() = Bytes::from_static(b"{");
                }
            }),
        ),
        (
            Code::ToolsFailed,
            Fault::of_response(|_, response| {
                let lists = response.body().windows(8).any(|text| text == b"\"tools\":");
                let initializes = response.body().windows(10).any(|text| text == b"serverInfo");
                if lists && !initializes { page(StatusCode::OK) } else { response }
            }),
        ),
    ]
}

#[tokio::test]
async fn the_cause_of_each_fault_comes_first() {
    for (code, fault) in [routing(), documents(), pages(), messages()].concat() {
        let (server, _running, url) = behind(fault).await;
        expect_cause(&target(&url, SECRET), code).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn a_proxy_that_removes_headers_costs_one_revision() {
    let fault = Fault::of_request(|request| {
        request.headers_mut().remove("mcp-method");
    });
    let (server, _running, url) = behind(fault).await;
    let report = report(&target(&url, SECRET)).await;
    let missing = report.findings().iter().find(|finding| finding.code() == Some(Code::RevisionMissing));
    assert_eq!(missing.and_then(|finding| finding.subject.as_deref()), Some("2026-07-28"), "{report}");
    assert_eq!(cause(&report), None, "{report}");
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_repeats_secrets_does_not_get_them_printed() {
    let fault = Fault::of_response(|seen, response| {
        if seen.path != "/token" {
            return response;
        }
        let received = seen.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or("none");
        let body = serde_json::json!({"error": "invalid_client", "error_description": format!("{received}, {SECRET}")});
        response.map(|_| body.to_string().into())
    });
    let (server, _running, url) = behind(fault).await;
    let report = report(&target(&url, SECRET)).await;
    let text = report.to_string();
    let basic = STANDARD.encode(format!("agent:{}", SECRET.replace(' ', "+")));
    assert!(text.contains("Basic [secret], [secret]") && !text.contains(&basic), "{text}");
    server.stop().await;
}
