//! Tables about metadata documents and pages of other origins.

use super::*;

#[test]
fn metadata_documents_must_agree_with_the_url() {
    let changed = |mut document: Value, field: &str, value: Value| {
        document[field] = value;
        json_reply(&document)
    };
    for (exchange, code) in [
        (html(404), Code::ResourceMetadataNotRouted),
        (html(401), Code::ResourceMetadataNotRouted),
        (html(200), Code::ResourceMetadataInvalid),
        (html(500), Code::ServerError),
        (Err(NoReply::Timeout), Code::HttpTimeout),
        (changed(resource(), "resource", json!("https://mcp.example.com")), Code::ResourceMismatch),
        (changed(resource(), "resource", Value::Null), Code::ResourceMismatch),
        (changed(resource(), "authorization_servers", json!([])), Code::ResourceMetadataInvalid),
    ] {
        expect(Check::ResourceMetadata, code, |observed| observed.resource_metadata = Some(exchange));
    }
    for (exchange, code) in [
        (html(404), Code::IssuerMetadataNotRouted),
        (html(200), Code::IssuerMetadataInvalid),
        (changed(issuer(), "issuer", json!("https://mcp.example.com/")), Code::IssuerMismatch),
        (changed(issuer(), "token_endpoint", json!("https://other.example.com/token")), Code::EndpointElsewhere),
        (changed(issuer(), "jwks_uri", json!("http://mcp.example.com/jwks.json")), Code::EndpointElsewhere),
        (changed(issuer(), "token_endpoint", json!("/token")), Code::EndpointElsewhere),
        (changed(issuer(), "token_endpoint", Value::Null), Code::IssuerMetadataInvalid),
        (changed(issuer(), "code_challenge_methods_supported", json!(["plain"])), Code::PkceMissing),
    ] {
        expect(Check::IssuerMetadata, code, |observed| {
            observed.issuer_metadata.as_mut().unwrap().exchange = exchange;
        });
    }
    for exchange in [html(404), html(200), json_reply(&json!({"keys": []}))] {
        expect(Check::Jwks, Code::JwksUnavailable, |observed| observed.jwks = Some(exchange));
    }
    expect(Check::IssuerMetadata, Code::IssuerMismatch, |observed| {
        observed.resource_metadata =
            Some(changed(resource(), "authorization_servers", json!(["http://sso.example.com"])));
        observed.issuer_metadata = None;
    });
}

#[test]
fn an_external_issuer_may_have_its_endpoints_elsewhere() {
    let mut document = issuer();
    document["issuer"] = json!("https://sso.example.com");
    document["token_endpoint"] = json!("https://tokens.example.com/token");
    let resource = json!({"resource": URL, "authorization_servers": ["https://sso.example.com"]});
    let observed = Observations {
        resource_metadata: Some(json_reply(&resource)),
        issuer_metadata: Some(IssuerDiscovery {
            issuer: "https://sso.example.com".to_owned(),
            exchange: json_reply(&document),
        }),
        ..healthy()
    };
    assert!(diagnose(&observed).iter().all(|finding| finding.code().is_none()));
}

#[test]
fn pages_of_required_origins() {
    let origin = "https://claude.ai";
    let bare = |status| Ok(reply(status, &[], ""));
    let allowing = |status, values: &[&str]| {
        let headers: Vec<(&str, &str)> = values.iter().map(|value| ("access-control-allow-origin", *value)).collect();
        Ok(reply(status, &headers, ""))
    };
    let cases: Vec<(HttpExchange, HttpExchange, Code)> = vec![
        (bare(200), refusal(403, "origin_not_allowed"), Code::OriginNotAllowed),
        (bare(401), page(origin).answer, Code::CorsPreflightRefused),
        (bare(200), page(origin).answer, Code::CorsPreflightRefused),
        (allowing(200, &["https://other.example.com"]), page(origin).answer, Code::CorsPreflightRefused),
        (allowing(200, &[origin]), page(origin).answer, Code::CorsPreflightIncomplete),
        (page(origin).preflight, bare(401), Code::CorsAnswerMissing),
        (page(origin).preflight, allowing(401, &[origin, "*"]), Code::CorsDuplicate),
        (page(origin).preflight, allowing(401, &["https://claude.ai, *"]), Code::CorsDuplicate),
        (page(origin).preflight, allowing(401, &[origin]), Code::CorsNotExposed),
        (page(origin).preflight, Err(NoReply::Timeout), Code::HttpTimeout),
    ];
    for (preflight, answer, code) in cases {
        expect(Check::Cors, code, |observed| {
            observed.pages = vec![PageRequests { preflight, answer, ..page(origin) }];
        });
    }
}

#[test]
fn known_origins_may_be_refused_but_not_half_allowed() {
    let origin = "https://claude.ai";
    let refused = PageRequests {
        required: false,
        preflight: Ok(reply(200, &[], "")),
        answer: refusal(403, "origin_not_allowed"),
        ..page(origin)
    };
    let half = PageRequests { required: false, answer: Ok(reply(401, &[], "")), ..page(origin) };
    for (page, code) in [(refused, None), (half, Some(Code::CorsAnswerMissing))] {
        let findings = diagnose(&Observations { pages: vec![page], ..healthy() });
        assert_eq!(findings.iter().find_map(Finding::code), code);
    }
}
