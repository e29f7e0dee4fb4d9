//! Tables about metadata documents of clients, logins, and tokens of users.

use super::*;
use crate::observation::{DocumentRequest, ProviderRequest, UserTokenOutcome};

/// An error page, as the endpoint shows it.
fn error_page(status: u16, lead: &str) -> HttpExchange {
    let body = format!("<h1>This did not work</h1>\n<p class=\"lead\">{lead}</p>");
    Ok(reply(status, &[("content-type", "text/html")], &body))
}

fn to(location: &str) -> HttpExchange {
    Ok(reply(303, &[("location", location)], ""))
}

/// The page about a document that was not read.
fn unusable(why: &str) -> HttpExchange {
    error_page(400, &format!("The client&#39;s metadata document cannot be used: {why}."))
}

#[test]
fn the_answer_to_a_client_tells_whether_its_document_was_read() {
    let not_allowed = "documents from claude.ai are not accepted here; an administrator can add it";
    for (required, exchange, code) in [
        (true, Some(to("https://mcp.example.com/login?continue=x")), None),
        (true, Some(to("https://claude.ai/api/mcp/auth_callback?error=invalid_scope")), None),
        (true, Some(error_page(400, "The redirect_uri is not registered.")), None),
        (true, Some(error_page(503, "Claude wants to connect, but nothing works.")), None),
        (true, Some(unusable("claude.ai did not answer in time")), Some(Code::ClientMetadataUnreadable)),
        (false, Some(unusable("claude.ai did not answer in time")), Some(Code::ClientMetadataUnreadable)),
        (true, Some(Err(NoReply::Timeout)), Some(Code::ClientMetadataUnreadable)),
        (true, Some(unusable(not_allowed)), Some(Code::ClientMetadataNotAllowed)),
        (false, Some(unusable(not_allowed)), None),
        (true, None, Some(Code::ClientMetadataNotAllowed)),
        (true, Some(html(404)), Some(Code::PageUnexpected)),
        (true, Some(Err(NoReply::Broken("reset".to_owned()))), Some(Code::PageUnexpected)),
        (true, Some(html(429)), Some(Code::RateLimitReached)),
    ] {
        let shown = format!("{required} {exchange:?}");
        let client_id = "https://claude.ai/oauth/mcp-oauth-client-metadata".to_owned();
        let observed =
            Observations { client_documents: vec![DocumentRequest { client_id, required, exchange }], ..healthy() };
        let findings = diagnose(&observed);
        let found = findings.iter().find(|finding| finding.code().is_some());
        assert_eq!(found.and_then(Finding::code), code, "{shown}");
        assert!(found.is_none_or(|finding| finding.check == Check::ClientMetadata), "{shown}");
    }
}

#[test]
fn a_provider_that_does_not_answer_is_named() {
    let row = |begin: HttpExchange, provider: Option<HttpExchange>| ProviderRequest {
        login: "sso".to_owned(),
        begin,
        provider: provider.map(|exchange| ("sso.example.com".to_owned(), exchange)),
    };
    let there = || to("https://sso.example.com/auth?state=s");
    for (request, code) in [
        (row(there(), Some(html(400))), None),
        (row(there(), Some(Err(NoReply::Timeout))), Some(Code::ProviderPageUnreachable)),
        (row(error_page(503, "SSO cannot be reached at the moment."), None), Some(Code::ProviderUnreachable)),
        (row(Err(NoReply::Timeout), None), Some(Code::ProviderUnreachable)),
        (row(error_page(502, "SSO answered in a way that cannot be used."), None), Some(Code::ProviderFailed)),
        (row(html(404), None), Some(Code::PageUnexpected)),
    ] {
        let shown = format!("{request:?}");
        let logins = Some(LoginRequests { page: sign_in_page(""), providers: vec![request] });
        let findings = diagnose(&Observations { logins, ..healthy() });
        let found = findings.iter().find(|finding| finding.code().is_some());
        assert_eq!(found.and_then(Finding::code), code, "{shown}");
        if code == Some(Code::ProviderUnreachable) {
            let seen = &found.unwrap().seen;
            assert!(seen.starts_with("the identity provider of the login \"sso\" does not answer"), "{seen}");
        }
    }
}

#[test]
fn a_sign_in_page_is_one_of_portcullis() {
    for (page, code) in [
        (sign_in_page(""), None),
        (error_page(503, "This endpoint has no login that can be used."), None),
        (html(200), Some(Code::PageUnexpected)),
        (html(404), Some(Code::PageUnexpected)),
        (html(429), Some(Code::RateLimitReached)),
    ] {
        let shown = format!("{page:?}");
        let logins = Some(LoginRequests { page, providers: Vec::new() });
        let findings = diagnose(&Observations { logins, ..healthy() });
        assert_eq!(findings.iter().find_map(Finding::code), code, "{shown}");
    }
}

#[test]
fn a_token_of_a_user_is_examined_like_that_of_a_client() {
    let issued = |audience: &str| UserTokenOutcome::Issued { audience: Some(vec![audience.to_owned()]) };
    for (outcome, expected) in [
        (issued(URL), Outcome::Ok),
        (issued("https://other.example.com/mcp"), Outcome::Problem(Code::WrongAudience)),
        (UserTokenOutcome::Failed("the browser was closed".to_owned()), Outcome::Problem(Code::SignInFailed)),
    ] {
        let findings = diagnose(&Observations { token: None, user_token: Some(outcome), ..healthy() });
        let token = findings.iter().find(|finding| finding.check == Check::Token).unwrap();
        assert_eq!(token.outcome, expected);
    }
    for (outcome, words) in
        [(UserTokenOutcome::Ended, "portcullis login"), (UserTokenOutcome::NotSignedIn, "--client-id")]
    {
        let findings = diagnose(&Observations { token: None, user_token: Some(outcome), ..healthy() });
        let token = findings.iter().find(|finding| finding.check == Check::Token).unwrap();
        assert!(matches!(token.outcome, Outcome::Skipped(reason) if reason.contains(words)), "{token:?}");
    }
}
