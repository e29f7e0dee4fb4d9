//! Requests that a browser without a session sends: authorization requests of clients with a metadata document, the sign-in
//! page, and the begin of a sign-in at each identity provider. The endpoint stores nothing for them.

use super::{Target, requests::Requests};
use crate::{
    Check,
    diagnose::is_blocked,
    html,
    observation::{DocumentRequest, LoginRequests, Observations, ProviderRequest},
};
use portcullis_core::{PublicUrl, loopback::is_loopback};
use url::Url;

/// The callback of claude.ai. The endpoint reads the document before it compares the callback.
const CALLBACK: &str = "https://claude.ai/api/mcp/auth_callback";
/// A PKCE challenge, whose verifier is never needed (RFC 7636, appendix B).
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Sends them all.
pub(super) async fn pages(observed: &mut Observations, requests: &Requests, url: &PublicUrl, target: &Target) {
    if observed.issuer_is_own() && !is_blocked(Check::ClientMetadata, observed) {
        documents(observed, requests, url, target).await;
        logins(observed, requests, url).await;
    }
}

async fn documents(observed: &mut Observations, requests: &Requests, url: &PublicUrl, target: &Target) {
    let accepted = observed.accepts_client_metadata();
    let endpoint = observed.issuer_field("authorization_endpoint").filter(|_| accepted);
    let own_machine = Url::parse(&url.resource()).is_ok_and(|url| is_loopback(&url));
    for (client_id, required) in target.documents(own_machine) {
        let exchange = match &endpoint {
            Some(endpoint) => Some(requests.page_of(&authorization_request(endpoint, client_id, url)).await),
            None if required => None,
            None => continue,
        };
        observed.client_documents.push(DocumentRequest { client_id: client_id.to_owned(), required, exchange });
    }
}

fn authorization_request(endpoint: &str, client_id: &str, url: &PublicUrl) -> String {
    let resource = url.resource();
    let parameters = [
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", CALLBACK),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("state", "portcullis-doctor"),
        ("resource", resource.as_str()),
    ];
    match Url::parse(endpoint) {
        Ok(mut request) => {
            request.query_pairs_mut().extend_pairs(parameters);
            request.into()
        }
        // It was parsed before.
        Err(_) => endpoint.to_owned(),
    }
}

async fn logins(observed: &mut Observations, requests: &Requests, url: &PublicUrl) {
    let page = requests.page_of(&url.issuer_url("/login")).await;
    let names = page.as_ref().map(|reply| html::providers(&reply.body, url.base_path())).unwrap_or_default();
    let mut providers = Vec::new();
    for login in names {
        let begin = requests.page_of(&url.issuer_url(&format!("/login/{login}"))).await;
        let location = begin.as_ref().ok().and_then(|reply| reply.header("location")).and_then(provider_page);
        let provider = match location {
            Some(page) => Some((page.host_str().unwrap_or_default().to_owned(), requests.page_of(page.as_str()).await)),
            None => None,
        };
        providers.push(ProviderRequest { login, begin, provider });
    }
    observed.logins = Some(LoginRequests { page, providers });
}

/// The page of a provider without parameters, so that no sign-in begins there.
fn provider_page(location: &str) -> Option<Url> {
    let mut page = Url::parse(location).ok().filter(|page| page.scheme() == "https" || is_loopback(page))?;
    page.set_query(None);
    page.set_fragment(None);
    Some(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_parameter_reaches_a_provider() {
        for (location, expected) in [
            ("https://sso.example.com/auth?state=s&nonce=n#f", Some("https://sso.example.com/auth")),
            ("http://127.0.0.1:8080/auth?state=s", Some("http://127.0.0.1:8080/auth")),
            ("http://sso.example.com/auth", None),
            ("/login", None),
        ] {
            assert_eq!(provider_page(location).map(String::from).as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn an_authorization_request_names_client_and_resource() {
        let url: PublicUrl = "https://h.example.com/mcp".parse().unwrap();
        let request = authorization_request("https://h.example.com/authorize", "https://claude.ai/c", &url);
        assert!(request.contains("client_id=https%3A%2F%2Fclaude.ai%2Fc"), "{request}");
        assert!(request.contains("resource=https%3A%2F%2Fh.example.com%2Fmcp"), "{request}");
    }
}
