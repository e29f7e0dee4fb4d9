//! Requests to the authorization server, and the content of redirects and errors.

use super::{LOOPBACK, SECRET, VERIFIER, WEB};
use crate::OAuthError;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use url::{Url, form_urlencoded};

pub(crate) fn headers(basic: Option<&str>) -> HeaderMap {
    let form = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, form)]);
    if let Some(joined) = basic {
        let value = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(joined));
        headers.insert(AUTHORIZATION, HeaderValue::try_from(value).unwrap());
    }
    headers
}

pub(crate) fn encoded(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

pub(crate) fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

fn redirect_uri(client_id: &str) -> &'static str {
    if matches!(client_id, "app" | "brief") { LOOPBACK } else { WEB }
}

/// A valid request to `/authorize`, with some parameters replaced, added or, if empty, removed.
pub(crate) fn query(client_id: &str, changes: &[(&str, &str)]) -> String {
    let challenge = challenge();
    let usual = [
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", redirect_uri(client_id)),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("state", "x y&z"),
        ("resource", "https://h.example.com/team/mcp"),
    ];
    let kept = usual.into_iter().filter(|(name, _)| !changes.iter().any(|(other, _)| other == name));
    encoded(&kept.chain(changes.iter().copied()).collect::<Vec<_>>())
}

pub(crate) fn redemption<'a>(client_id: &'a str, code: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("grant_type", "authorization_code"),
        ("client_id", client_id),
        ("code", code),
        ("code_verifier", VERIFIER),
        ("redirect_uri", redirect_uri(client_id)),
    ]
}

pub(crate) fn renewal<'a>(client_id: &'a str, refresh_token: &'a str) -> [(&'a str, &'a str); 3] {
    [("grant_type", "refresh_token"), ("client_id", client_id), ("refresh_token", refresh_token)]
}

/// The parameters of a redirect. Each must occur once.
pub(crate) fn answer(location: &str) -> BTreeMap<String, String> {
    let url = Url::parse(location).unwrap();
    let pairs: Vec<_> = url.query_pairs().into_owned().collect();
    let map: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "{location}");
    map
}

/// Asserts that a request was refused with this code, and that the message contains no credential.
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, OAuthError>, code: &str, name: &str) {
    let error = result.expect_err(name);
    assert_eq!(error.code(), code, "{name}: {error}");
    assert!(!error.to_string().contains(SECRET) && !error.to_string().contains(VERIFIER), "{name}");
}

/// A form with some parameters replaced or, if empty, removed.
pub(crate) fn changed<'a>(form: &[(&'a str, &'a str)], changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = form.iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    kept.chain(changes).copied().collect()
}
