//! The pages for users: whether the endpoint reads the metadata documents of clients (OAuth Client ID Metadata Documents),
//! and whether the identity providers of its logins answer. Both show in the endpoint's pages to a browser without a session.

use super::not_examined;
use crate::{
    Check, Code, Finding, html,
    observation::{DocumentRequest, HttpExchange, HttpReply, NoReply, Observations, ProviderRequest, clipped},
};
use portcullis_core::loopback::is_loopback;
use url::Url;

/// The words of the error page about a document.
const UNUSABLE: &str = "metadata document cannot be used: ";
/// The words of the error page about the host of a document.
const NOT_ALLOWED: &str = "are not accepted here";

pub(super) fn client_metadata(observed: &Observations) -> Vec<Finding> {
    const CHECK: Check = Check::ClientMetadata;
    if !observed.issuer_is_own() {
        return vec![Finding::ok(CHECK, "not examined, because the authorization server is external")];
    }
    if observed.client_documents.is_empty() {
        let own_machine =
            observed.url.as_ref().is_ok_and(|url| Url::parse(&url.resource()).is_ok_and(|url| is_loopback(&url)));
        return vec![match (observed.accepts_client_metadata(), own_machine) {
            (false, _) => Finding::ok(CHECK, "not supported: agents are registered"),
            (true, true) => Finding::ok(CHECK, "supported; agents in the cloud cannot reach this machine"),
            (true, false) => not_examined(CHECK),
        }];
    }
    observed.client_documents.iter().map(|request| document(request).about(&clipped(&request.client_id))).collect()
}

fn document(request: &DocumentRequest) -> Finding {
    const CHECK: Check = Check::ClientMetadata;
    let problem = |code, seen: &str| Finding::problem(CHECK, code, clipped(seen));
    let not_allowed = |seen: &str| {
        if request.required {
            problem(Code::ClientMetadataNotAllowed, seen)
        } else {
            Finding::ok(CHECK, "not allowed; this agent needs an OAuthClient")
        }
    };
    let reply = match &request.exchange {
        None => return not_allowed("the endpoint supports no metadata documents"),
        Some(Err(NoReply::Timeout)) => {
            return problem(Code::ClientMetadataUnreadable, "no response in time: the endpoint waits for the document");
        }
        Some(Err(none)) => return problem(Code::PageUnexpected, &none.text()),
        Some(Ok(reply)) => reply,
    };
    let lead = html::lead(&reply.body);
    match (reply.status, lead.as_deref()) {
        (302 | 303, _) => Finding::ok(CHECK, "the endpoint has read the document"),
        (429, _) => problem(Code::RateLimitReached, "429"),
        (200..=499, Some(lead)) => match lead.split_once(UNUSABLE) {
            Some((_, why)) if why.contains(NOT_ALLOWED) => not_allowed(why),
            Some((_, why)) => problem(Code::ClientMetadataUnreadable, why),
            None => Finding::ok(CHECK, "the endpoint has read the document"),
        },
        // The client is looked up before the logins.
        (503, Some(_)) => Finding::ok(CHECK, "the endpoint has read the document, but no login can be used"),
        _ => problem(Code::PageUnexpected, &format!("{} instead of a page", reply.summary())),
    }
}

pub(super) fn logins(observed: &Observations) -> Vec<Finding> {
    const CHECK: Check = Check::Logins;
    if !observed.issuer_is_own() {
        return vec![Finding::ok(CHECK, "not examined, because the authorization server is external")];
    }
    let Some(logins) = &observed.logins else { return vec![not_examined(CHECK)] };
    if !logins.providers.is_empty() {
        return logins.providers.iter().map(|request| provider(request).about(&request.login)).collect();
    }
    vec![match &logins.page {
        Ok(reply) if reply.status == 200 && html::lead(&reply.body).is_some() => {
            Finding::ok(CHECK, "the sign-in page answers; no login has an identity provider")
        }
        Ok(reply) if reply.status == 503 && html::lead(&reply.body).is_some() => {
            Finding::ok(CHECK, "no login can be used: only clients with credentials of their own connect")
        }
        Ok(reply) if reply.status == 429 => Finding::problem(CHECK, Code::RateLimitReached, "429"),
        other => Finding::problem(CHECK, Code::PageUnexpected, format!("/login: {}", shown(other))),
    }]
}

fn provider(request: &ProviderRequest) -> Finding {
    const CHECK: Check = Check::Logins;
    let problem = |code, seen: &str| Finding::problem(CHECK, code, clipped(seen));
    let login = &request.login;
    let reply: &HttpReply = match &request.begin {
        Ok(reply) => reply,
        Err(NoReply::Timeout) => {
            let seen = format!("the identity provider of the login {login:?} does not answer the endpoint in time");
            return problem(Code::ProviderUnreachable, &seen);
        }
        Err(none) => return problem(Code::PageUnexpected, &none.text()),
    };
    match (reply.status, html::lead(&reply.body), &request.provider) {
        (302 | 303, _, Some((host, Ok(_)))) => Finding::ok(CHECK, format!("{} answers", clipped(host))),
        (302 | 303, _, Some((host, Err(none)))) => {
            let seen = format!("the identity provider at {host} does not answer: {}", none.text());
            problem(Code::ProviderPageUnreachable, &seen)
        }
        (503, Some(lead), _) => {
            let seen = format!("the identity provider of the login {login:?} does not answer: {lead}");
            problem(Code::ProviderUnreachable, &seen)
        }
        (500..=599, Some(lead), _) => problem(Code::ProviderFailed, &lead),
        (429, _, _) => problem(Code::RateLimitReached, "429"),
        _ => problem(Code::PageUnexpected, &format!("/login/{login}: {}", shown(&request.begin))),
    }
}

fn shown(exchange: &HttpExchange) -> String {
    match exchange {
        Ok(reply) => format!("{} instead of a page", reply.summary()),
        Err(none) => none.text(),
    }
}
