//! The security headers of all pages: no scripts, no frames, no caching, no forms to other sites
//! (Content Security Policy Level 3).

use axum::response::Response;
use http::{HeaderName, HeaderValue, header};
use url::{Host, Url};

const POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// Besides the policy. The referrer stays within the origin: `no-referrer` would make browsers send `Origin: null` with
/// our own forms (Fetch §3.2.5), so that they could not be told from a stranger's.
const ALWAYS: [(HeaderName, HeaderValue); 6] = [
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ),
];

/// Adds what the handler did not say itself.
pub fn secure(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.insert(name, value);
    }
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The policy of the page that asks for consent. Browsers hold `form-action` against the redirect after the form too,
/// and against those that follow: a callback at one https host may well lead on to another, so all of them may.
pub(crate) fn consent_policy(redirect_uri: &str) -> HeaderValue {
    let Ok(url) = Url::parse(redirect_uri) else { return HeaderValue::from_static(POLICY) };
    let source = match (url.scheme(), url.host()) {
        ("https", _) => None,
        // An address of IPv6 cannot be written in a policy.
        ("http", Some(Host::Ipv6(_))) => Some("http:".to_owned()),
        ("http", _) => Some(url.origin().ascii_serialization()),
        (scheme, _) => Some(format!("{scheme}:")),
    };
    let source = source.map(|source| format!(" {source}")).unwrap_or_default();
    HeaderValue::try_from(format!("{POLICY} https:{source}")).unwrap_or(HeaderValue::from_static(POLICY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    #[test]
    fn the_consent_page_lets_its_form_lead_to_the_client_and_nowhere_else() {
        for (redirect_uri, end) in [
            ("https://claude.ai/cb;script-src *", "form-action 'self' https:"),
            ("http://127.0.0.1:33418/cb", "form-action 'self' https: http://127.0.0.1:33418"),
            ("http://[::1]:7/", "form-action 'self' https: http:"),
            ("cursor://anysphere/cb", "form-action 'self' https: cursor:"),
            ("com.example.app:/cb", "form-action 'self' https: com.example.app:"),
            ("no uri", "form-action 'self'"),
        ] {
            let policy = consent_policy(redirect_uri);
            let policy = policy.to_str().unwrap();
            assert!(policy.ends_with(end) && !policy.contains("script-src"), "{redirect_uri}: {policy}");
        }
    }

    #[test]
    fn every_answer_is_closed_to_frames_scripts_and_caches() {
        let response = secure(Response::new(Body::empty()));
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert_eq!(response.headers()[header::X_FRAME_OPTIONS], "DENY");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    }
}
