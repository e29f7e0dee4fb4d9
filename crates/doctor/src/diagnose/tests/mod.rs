//! Tables: one fault in the observations of a healthy endpoint, and the findings.

#![expect(clippy::unnecessary_wraps, reason = "the helpers make what observations hold")]

mod documents;
mod sign_in;
mod tokens;

use super::*;
use crate::{
    Code, Severity,
    observation::{
        Certificate, ConnectFailure, ConnectionAttempt, HttpExchange, HttpReply, IssuerDiscovery, LoginRequests,
        NoReply, PageRequests, RevisionRequest, TlsFailure, TokenOutcome, TokenRequest,
    },
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

const URL: &str = "https://mcp.example.com/mcp";
const METADATA: &str = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";
const DATE: &str = "Fri, 15 Jan 2027 08:00:00 GMT";

fn time() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> HttpReply {
    let mut reply =
        HttpReply { status, body: body.to_owned(), took: Duration::from_millis(20), ..HttpReply::default() };
    for (name, value) in headers {
        reply.headers.entry((*name).to_owned()).or_default().push((*value).to_owned());
    }
    reply
}

fn json_reply(body: &Value) -> HttpExchange {
    Ok(reply(200, &[("content-type", "application/json")], &body.to_string()))
}

/// A refusal as the servers word it at the MCP endpoint.
fn refusal(status: u16, reason: &str) -> HttpExchange {
    let data = json!({"reason": reason, "request_id": "r"});
    let error = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32000, "message": "m", "data": data}});
    Ok(reply(status, &[], &error.to_string()))
}

fn html(status: u16) -> HttpExchange {
    Ok(reply(status, &[("content-type", "text/html")], "<html>"))
}

fn challenge() -> String {
    format!("Bearer realm=\"agents\", resource_metadata=\"{METADATA}\", scope=\"files:read\"")
}

fn resource() -> Value {
    json!({"resource": URL, "authorization_servers": ["https://mcp.example.com"]})
}

fn issuer() -> Value {
    json!({
        "issuer": "https://mcp.example.com",
        "authorization_endpoint": "https://mcp.example.com/authorize",
        "token_endpoint": "https://mcp.example.com/token",
        "jwks_uri": "https://mcp.example.com/jwks.json",
        "code_challenge_methods_supported": ["S256"],
    })
}

fn page(origin: &str) -> PageRequests {
    let allowed = [
        ("access-control-allow-origin", origin),
        ("access-control-allow-methods", "GET,POST"),
        ("access-control-allow-headers", "Authorization, Content-Type, Mcp-Protocol-Version"),
        ("access-control-expose-headers", "WWW-Authenticate, Retry-After"),
    ];
    let answer = [allowed[0], allowed[3]];
    PageRequests {
        origin: origin.to_owned(),
        required: true,
        preflight: Ok(reply(200, &allowed, "")),
        answer: Ok(reply(401, &answer, "")),
    }
}

fn initialized(revision: &'static str) -> RevisionRequest {
    RevisionRequest { revision, exchange: json_reply(&json!({"id": 1, "result": {"protocolVersion": revision}})) }
}

/// The sign-in page, with more of its HTML.
fn sign_in_page(more: &str) -> HttpExchange {
    let body = format!("<h1>Sign in</h1>\n<p class=\"lead\">See which agents you connected.</p>{more}");
    Ok(reply(200, &[("content-type", "text/html")], &body))
}

/// The checks that need no kubeconfig.
fn outside() -> Vec<Check> {
    Check::ALL.into_iter().filter(|check| !check.is_of_cluster()).collect()
}

/// A healthy endpoint, examined with credentials.
fn healthy() -> Observations {
    let address = "93.184.215.14".parse().unwrap();
    let whoami = json!({"id": 1, "result": {"content": [], "isError": false}});
    Observations {
        addresses: Some(Ok(vec![address])),
        connections: vec![ConnectionAttempt { address: (address, 443).into(), failure: None }],
        tls: Some(Ok(Certificate { not_before: None, not_after: Some(days(60)) })),
        unauthenticated: Some(Ok(reply(401, &[("www-authenticate", &challenge()), ("date", DATE)], ""))),
        resource_metadata: Some(json_reply(&resource())),
        issuer_metadata: Some(IssuerDiscovery {
            issuer: "https://mcp.example.com".to_owned(),
            exchange: json_reply(&issuer()),
        }),
        jwks: Some(json_reply(&json!({"keys": [{}]}))),
        logins: Some(LoginRequests { page: sign_in_page(""), providers: Vec::new() }),
        pages: vec![page("https://claude.ai")],
        token: Some(TokenRequest {
            by_header: TokenOutcome::Issued { audience: Some(vec![URL.to_owned()]) },
            by_body: None,
        }),
        revisions: vec![
            initialized("2025-06-18"),
            RevisionRequest {
                revision: "2026-07-28",
                exchange: json_reply(&json!({"id": 1, "result": {"supportedVersions": ["2026-07-28"]}})),
            },
        ],
        tools: Some(json_reply(&json!({"id": 1, "result": {"tools": [{"name": "whoami"}]}}))),
        calls: vec![json_reply(&whoami)],
        ..Observations::new(URL, time())
    }
}

fn days(count: i64) -> Timestamp {
    time() + SignedDuration::from_hours(24 * count)
}

/// Changes the observations of a healthy endpoint, and expects this code as the first problem of this check.
fn expect(check: Check, code: Code, change: impl FnOnce(&mut Observations)) {
    let mut observed = healthy();
    change(&mut observed);
    let findings = diagnose(&observed);
    let first = findings.iter().find(|finding| finding.code().is_some());
    let first = first.unwrap_or_else(|| panic!("{code:?}: no problem in {findings:#?}"));
    assert_eq!((first.check, first.code()), (check, Some(code)), "{findings:#?}");
    // After a failure, each check that requires it is skipped because of it.
    if code.severity() == Severity::Failure {
        for finding in findings.iter().filter(|finding| finding.check.requires().contains(&check)) {
            assert_eq!(finding.outcome, Outcome::SkippedAfter(check), "{finding:?}");
        }
    }
}

#[test]
fn a_healthy_endpoint_has_no_problem() {
    let findings = diagnose(&healthy());
    let checks: Vec<Check> = findings.iter().map(|finding| finding.check).collect();
    assert_eq!(checks, outside());
    for finding in &findings {
        assert_eq!(finding.outcome, Outcome::Ok, "{finding:?}");
    }
}

#[test]
fn everything_is_skipped_after_the_cause() {
    let mut observed = Observations::new(URL, time());
    observed.addresses = Some(Err("no such host".to_owned()));
    let findings = diagnose(&observed);
    assert_eq!(findings.len(), outside().len());
    assert_eq!(findings[1].code(), Some(Code::DnsFailed));
    for finding in &findings[2..] {
        assert_eq!(finding.outcome, Outcome::SkippedAfter(Check::Dns), "{finding:?}");
    }
}

#[test]
fn without_credentials_the_checks_with_a_token_are_skipped() {
    let without = Observations { token: None, revisions: vec![], tools: None, calls: vec![], ..healthy() };
    let findings = diagnose(&without);
    let skipped: BTreeSet<Check> = findings
        .iter()
        .filter(|finding| matches!(finding.outcome, Outcome::Skipped(reason) if reason.contains("--client-id")))
        .map(|finding| finding.check)
        .collect();
    let expected = [Check::Token, Check::Authorization, Check::Revisions, Check::Tools, Check::Call];
    assert_eq!(skipped, BTreeSet::from(expected));
    assert!(findings.iter().all(|finding| finding.code().is_none()));
}

#[test]
fn a_url_must_be_one_of_an_endpoint() {
    for url in ["http://mcp.example.com/mcp", "mcp.example.com", "https://mcp.example.com/mcp/", "https://h"] {
        let findings = diagnose(&Observations::new(url, time()));
        assert_eq!(findings[0].code(), Some(Code::UrlInvalid), "{url}");
    }
}

#[test]
fn addresses_and_connections() {
    let attempt = |address: &str, failure| ConnectionAttempt { address: address.parse().unwrap(), failure };
    expect(Check::Dns, Code::DnsPrivate, |observed| {
        observed.addresses = Some(Ok(vec!["10.0.0.7".parse().unwrap(), "93.184.215.14".parse().unwrap()]));
    });
    for (failure, code) in [
        (ConnectFailure::Refused, Code::TcpRefused),
        (ConnectFailure::Timeout, Code::TcpTimeout),
        (ConnectFailure::Other("no route".to_owned()), Code::TcpUnreachable),
    ] {
        expect(Check::Tcp, code, |observed| {
            observed.connections = vec![attempt("93.184.215.14:443", Some(failure))];
        });
    }
    expect(Check::Tcp, Code::TcpPartial, |observed| {
        observed.connections =
            vec![attempt("[2606:4700::1]:443", Some(ConnectFailure::Timeout)), attempt("93.184.215.14:443", None)];
    });
}

#[test]
fn an_endpoint_on_this_machine_is_not_private_by_mistake() {
    for (url, addresses, private) in [
        ("http://127.0.0.1:8080/mcp", &["127.0.0.1"][..], false),
        ("http://localhost:8080/mcp", &["::1", "127.0.0.1"], false),
        ("https://mcp.example.com/mcp", &["127.0.0.1"], true),
        ("https://10.0.0.7/mcp", &["10.0.0.7"], true),
        ("https://mcp.example.com/mcp", &["2606:4700::1"], false),
    ] {
        let mut observed = Observations::new(url, time());
        observed.addresses = Some(Ok(addresses.iter().map(|address| address.parse().unwrap()).collect()));
        let found = diagnose(&observed)[1].code() == Some(Code::DnsPrivate);
        assert_eq!(found, private, "{url} {addresses:?}");
    }
}

#[test]
fn certificates() {
    for (failure, code) in [
        (TlsFailure::NotSpoken, Code::TlsNotSpoken),
        (TlsFailure::Refused("alert".to_owned()), Code::TlsRefused),
        (TlsFailure::Expired(Some(days(-1))), Code::TlsExpired),
        (TlsFailure::NotYetValid(None), Code::TlsNotYetValid),
        (TlsFailure::WrongName("other.example.com".to_owned()), Code::TlsWrongName),
        (TlsFailure::SelfSigned, Code::TlsSelfSigned),
        (TlsFailure::UnknownAuthority(1), Code::TlsUnknownAuthority),
        (TlsFailure::Invalid("purpose".to_owned()), Code::TlsInvalid),
    ] {
        expect(Check::Tls, code, |observed| observed.tls = Some(Err(failure)));
    }
    for (begin, end, soon) in [
        (Some(-76), 14, false),
        (Some(-77), 13, true),
        (None, 13, true),
        // Valid for six days only: the last sixth counts.
        (Some(-4), 2, false),
        (Some(-6), 0, true),
    ] {
        let certificate = Certificate { not_before: begin.map(days), not_after: Some(days(end)) };
        let findings = diagnose(&Observations { tls: Some(Ok(certificate)), ..healthy() });
        let found = findings.iter().any(|finding| finding.code() == Some(Code::TlsExpiresSoon));
        assert_eq!(found, soon, "{begin:?} {end}");
    }
}

#[test]
fn responses_without_a_token() {
    let redirect = |location: &str| Ok(reply(308, &[("location", location)], ""));
    for (exchange, code) in [
        (Err(NoReply::Timeout), Code::HttpTimeout),
        (Err(NoReply::Broken("reset".to_owned())), Code::HttpBroken),
        (redirect("http://mcp.example.com/mcp"), Code::RedirectToHttp),
        (redirect("https://sso.example.com/login"), Code::RedirectToOtherHost),
        (redirect("//sso.example.com/login"), Code::RedirectToOtherHost),
        (redirect("/mcp/"), Code::RedirectToOtherPath),
        (refusal(403, "address_not_allowed"), Code::AddressNotAllowed),
        (refusal(403, "https_required"), Code::HttpsNotForwarded),
        (html(403), Code::ForbiddenByProxy),
        (html(404), Code::PathNotRouted),
        (Ok(reply(404, &[], r#"{"error": "not_found", "request_id": "r"}"#)), Code::PathUnknown),
        (refusal(405, "method_not_allowed"), Code::PathUnknown),
        (html(405), Code::NotAnMcpEndpoint),
        (html(200), Code::NotAnMcpEndpoint),
        (json_reply(&json!({"jsonrpc": "2.0", "id": 1, "result": {}})), Code::NotProtected),
        (refusal(429, "rate_limited"), Code::RateLimited),
        (html(502), Code::NoServer),
        (html(503), Code::NoServer),
        (refusal(503, "busy"), Code::ServerBusy),
        (html(500), Code::ServerError),
    ] {
        expect(Check::Http, code, |observed| observed.unauthenticated = Some(exchange));
    }
}

#[test]
fn clocks_and_challenges() {
    let with =
        |challenge: &str, date: &str| Some(Ok(reply(401, &[("www-authenticate", challenge), ("date", date)], "")));
    for date in ["Fri, 15 Jan 2027 08:01:01 GMT", "Fri, 15 Jan 2027 07:58:59 GMT"] {
        expect(Check::Clock, Code::ClockSkew, |observed| observed.unauthenticated = with(&challenge(), date));
    }
    for date in ["Fri, 15 Jan 2027 08:01:00 GMT", "yesterday"] {
        let findings = diagnose(&Observations { unauthenticated: with(&challenge(), date), ..healthy() });
        assert!(findings.iter().all(|finding| finding.code().is_none()), "{date}");
    }
    for (challenge, code) in [
        ("Basic realm=\"proxy\"".to_owned(), Code::ChallengeNotBearer),
        ("Bearer realm=\"resource_metadata\"".to_owned(), Code::ChallengeWithoutMetadata),
        (challenge().replace("mcp.example.com", "other.example.com"), Code::ChallengeOtherUrl),
        (challenge().replace("\", scope", "/\", scope"), Code::ChallengeOtherUrl),
    ] {
        expect(Check::Challenge, code, |observed| observed.unauthenticated = with(&challenge, DATE));
    }
    expect(Check::Challenge, Code::ChallengeMissing, |observed| observed.unauthenticated = Some(html(401)));
}
