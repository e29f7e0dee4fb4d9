//! Tables about tokens and the messages that are sent with them.

use super::*;

fn refused_token(status: u16, error: Option<&str>) -> TokenOutcome {
    TokenOutcome::Refused { status, error: error.map(str::to_owned), description: "d".to_owned() }
}

#[test]
fn tokens() {
    let issued = || TokenOutcome::Issued { audience: Some(vec![URL.to_owned()]) };
    let refused = refused_token;
    let elsewhere = TokenOutcome::Issued { audience: Some(vec!["https://mcp.example.com".to_owned()]) };
    for (by_header, by_body, code) in [
        (refused(401, Some("invalid_client")), Some(refused(401, Some("invalid_client"))), Code::ClientRefused),
        (refused(401, Some("invalid_client")), Some(issued()), Code::AuthorizationStripped),
        (refused(400, Some("unauthorized_client")), None, Code::GrantNotAllowed),
        (refused(400, Some("invalid_target")), None, Code::WrongAudience),
        (refused(400, Some("invalid_scope")), None, Code::TokenFailed),
        (refused(404, None), None, Code::TokenNotRouted),
        (refused(200, None), None, Code::TokenFailed),
        (refused(429, Some("rate_limited")), None, Code::RateLimited),
        (refused(500, None), None, Code::ServerError),
        (TokenOutcome::NoReply(NoReply::Timeout), None, Code::HttpTimeout),
        (elsewhere, None, Code::WrongAudience),
    ] {
        expect(Check::Token, code, |observed| observed.token = Some(TokenRequest { by_header, by_body }));
    }
    let opaque = TokenRequest { by_header: TokenOutcome::Issued { audience: None }, by_body: None };
    let findings = diagnose(&Observations { token: Some(opaque), ..healthy() });
    assert!(findings.iter().all(|finding| finding.code().is_none()));
}

#[test]
fn an_authorization_server_may_accept_secrets_in_the_body_only() {
    let mut document = issuer();
    document["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
    let by_body = Some(TokenOutcome::Issued { audience: None });
    let mut observed = healthy();
    observed.issuer_metadata.as_mut().unwrap().exchange = json_reply(&document);
    observed.token = Some(TokenRequest { by_header: refused_token(401, Some("invalid_client")), by_body });
    assert!(diagnose(&observed).iter().all(|finding| finding.code().is_none()));
}

#[test]
fn requests_with_a_token() {
    let unauthenticated = |error: &str| {
        let challenge = challenge().replace("resource_metadata", &format!("{error}resource_metadata"));
        Ok(reply(401, &[("www-authenticate", &challenge)], ""))
    };
    let invalid = |text: &str| unauthenticated(&format!("error=\"invalid_token\", error_description=\"{text}\", "));
    let host = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32600, "message": "Forbidden: Host header is not allowed"}});
    for (exchange, code) in [
        (unauthenticated(""), Code::AuthorizationStripped),
        (html(401), Code::AuthorizationStripped),
        (invalid("the access token is for another resource; request one"), Code::WrongAudience),
        (invalid("the access token is signed with a key that this endpoint does not hold"), Code::TokenRefused),
        (Ok(reply(403, &[], &host.to_string())), Code::HostRewritten),
        (html(403), Code::ForbiddenByProxy),
        (html(502), Code::NoServer),
        (refusal(503, "busy"), Code::ServerBusy),
        (refusal(429, "rate_limited"), Code::RateLimited),
        (Err(NoReply::Timeout), Code::HttpTimeout),
    ] {
        expect(Check::Authorization, code, |observed| observed.revisions[0].exchange = exchange);
    }
}

#[test]
fn messages() {
    expect(Check::Revisions, Code::McpFailed, |observed| {
        for request in &mut observed.revisions {
            request.exchange = html(400);
        }
    });
    expect(Check::Revisions, Code::RevisionMissing, |observed| observed.revisions[1].exchange = refusal(400, "x"));
    expect(Check::Revisions, Code::RevisionMissing, |observed| {
        observed.revisions[0].exchange = json_reply(&json!({"result": {"protocolVersion": "2025-03-26"}}));
    });
    let tools = |tools: Value| Some(json_reply(&json!({"id": 1, "result": {"tools": tools}})));
    expect(Check::Tools, Code::ToolsEmpty, |observed| (observed.tools, observed.calls) = (tools(json!([])), vec![]));
    expect(Check::Tools, Code::ToolsFailed, |observed| observed.tools = Some(html(200)));
    expect(Check::Tools, Code::HttpTimeout, |observed| observed.tools = Some(Err(NoReply::Timeout)));
    for answer in [
        json!({"id": 1, "result": {"isError": true, "content": [{"type": "text", "text": "no"}]}}),
        json!({"id": 1, "error": {"code": -32603, "message": "no"}}),
    ] {
        expect(Check::Call, Code::CallFailed, |observed| observed.calls = vec![json_reply(&answer)]);
    }
    let findings = diagnose(&Observations { tools: tools(json!([{"name": "search"}])), calls: vec![], ..healthy() });
    let call = findings.iter().find(|finding| finding.check == Check::Call).unwrap();
    assert!(matches!(call.outcome, Outcome::Skipped(reason) if reason.contains("whoami")), "{call:?}");
}

#[test]
fn time_and_rate_limits_are_warnings() {
    expect(Check::Latency, Code::Slow, |observed| {
        observed.calls[0].as_mut().unwrap().took = Duration::from_secs(3);
    });
    expect(Check::RateLimits, Code::RateLimitReached, |observed| {
        let again = Ok(reply(429, &[], ""));
        observed.calls.push(again);
    });
}
