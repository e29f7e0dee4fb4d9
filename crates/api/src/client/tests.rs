//! Types of clients, and the rules for redirect URIs.

use crate::client::*;
use crate::validation::{self, Violation};
use portcullis_core::loopback;
use proptest::prelude::*;
use redirect_uri::RedirectUrisError;
use serde_json::json;

#[test]
fn the_rules_know_the_type_of_every_preset() {
    for preset in Preset::ALL {
        let manifest = json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthClient", "metadata": {"name": "a"},
            "spec": {"endpointRef": {"name": "agents"}, "preset": preset, "scopes": ["files:read"],
                "grants": ["client_credentials"]},
        });
        let admitted = validation::admit::<OAuthClient>(manifest);
        assert_eq!(admitted.is_ok(), preset.client_type() == ClientType::Confidential, "{preset:?}: {admitted:?}");
    }
}

/// What the schema and the CEL rules say about a client with these redirect URIs.
fn admitted(uris: &[String]) -> Result<(), Vec<Violation>> {
    let manifest = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthClient", "metadata": {"name": "dyn"},
        "spec": {"endpointRef": {"name": "any"}, "preset": "custom", "type": "Public", "scopes": ["files:read"],
            "redirectUris": uris},
    });
    validation::admit::<OAuthClient>(manifest).map(drop)
}

/// Compares the Rust check with admission: the same verdict, and the same message where a rule is broken.
fn compared(uris: &[String]) -> Result<(), TestCaseError> {
    let messages =
        |violations: Vec<Violation>| violations.into_iter().map(|violation| violation.message).collect::<Vec<_>>();
    let (checked, admitted) = (redirect_uri::check_all(uris), admitted(uris).map_err(messages));
    if let Err(error @ RedirectUrisError::Rule(_)) = &checked {
        prop_assert_eq!(admitted, Err(vec![error.to_string()]), "{:?}", uris);
    } else {
        prop_assert_eq!(checked.is_ok(), admitted.is_ok(), "{:?}: {:?}, {:?}", uris, checked, admitted);
    }
    Ok(())
}

#[test]
fn servers_check_redirect_uris_as_admission_does() {
    for (uri, expected) in [
        ("https://claude.ai/api/mcp/auth_callback", true),
        ("https://agent.example.com/callback?tenant=a%20b", true),
        ("http://localhost:8787/callback", true),
        ("http://127.0.0.1:33418/", true),
        ("http://[::1]/callback", true),
        ("cursor://anysphere.cursor-mcp/oauth/callback", true),
        ("com.example.app:/callback", true),
        ("https://evil.com/{id}", true),
        ("https://сlaude.ai/callback", true),
        ("intent://h/", true),
        ("http://agent.example.com/callback", false),
        ("http://localhost.evil.com/callback", false),
        ("http://localhost:80@evil.com/", false),
        ("http://localhost:/callback", false),
        ("http://localhost:123456/callback", false),
        ("https://agent.example.com/callback#f", false),
        ("https://claude.ai@evil.com/", false),
        ("https://*.example.com/", false),
        ("https://evil.com/a b", false),
        ("https://evil.com/\u{a0}", false),
        ("https://evil.com/\u{2028}", false),
        ("https://evil.com/\r\nx: y", false),
        ("https:\\\\evil.com", false),
        ("https://a.example.com/../x", false),
        ("https://a.example.com/..", false),
        ("//evil.com/callback", false),
        ("/callback", false),
        ("javascript:alert(1)", false),
        ("javascript://claude.ai/%0aalert(1)", false),
        ("JAVASCRIPT:alert(1)", false),
        ("data:text/html,x", false),
        ("vbscript:x", false),
        ("file:///etc/passwd", false),
        ("blob:https://claude.ai/1", false),
        ("about:blank", false),
        ("app:callback", false),
        ("com.example.app:/", false),
        ("com.example.app://", false),
        ("com..app:/callback", false),
        ("", false),
    ] {
        let uris = [uri.to_owned()];
        assert_eq!(redirect_uri::check_all(&uris).is_ok(), expected, "{uri}");
        compared(&uris).unwrap();
    }
    let many = |count: usize| (0..count).map(|n| format!("https://a.example.com/{n}")).collect::<Vec<_>>();
    for (uris, expected) in [
        (many(redirect_uri::MAX_COUNT), true),
        (many(redirect_uri::MAX_COUNT + 1), false),
        (vec![format!("https://h/{}", "é".repeat(redirect_uri::MAX_LENGTH - 10))], true),
        (vec![format!("https://h/{}", "é".repeat(redirect_uri::MAX_LENGTH - 9))], false),
    ] {
        assert_eq!(redirect_uri::check_all(&uris).is_ok(), expected, "{}", uris.len());
        compared(&uris).unwrap();
    }
    let twice = vec!["https://a.example.com/x".to_owned(); 2];
    let message = redirect_uri::check_all(&twice).unwrap_err().to_string();
    assert_eq!(admitted(&twice).unwrap_err()[0].message, message);
}

/// Texts near valid URIs: parts of them in the right order, some of them changed or left out.
fn any_uri() -> impl Strategy<Value = String> {
    let scheme = prop_oneof![
        4 => Just("https".to_owned()),
        4 => Just("http".to_owned()),
        2 => Just("com.example.app".to_owned()),
        2 => proptest::sample::select(&redirect_uri::FORBIDDEN_SCHEMES[..]).prop_map(ToOwned::to_owned),
        1 => proptest::sample::select(&redirect_uri::BROWSER_SCHEMES[..]).prop_map(ToOwned::to_owned),
        2 => "[a-z0-9.+-]{0,4}|[A-Za-z]{1,5}|\\PC{0,3}",
    ];
    let separator = prop_oneof![6 => Just("://".to_owned()), 2 => Just(":/".to_owned()), 1 => "[:/\\\\]{0,3}"];
    let host = prop_oneof![
        2 => Just("agent.example.com".to_owned()),
        4 => proptest::sample::select(&loopback::HOSTS[..]).prop_map(ToOwned::to_owned),
        2 => "[a-z0-9.@:\\[\\]*_-]{0,8}|\\PC{0,3}",
    ];
    let port = prop_oneof![3 => Just(String::new()), 2 => ":[0-9]{0,6}", 1 => "[:@a-z0-9]{0,4}"];
    let path = prop_oneof![3 => "[/?][a-z0-9/?.]{0,8}", 2 => Just(String::new()), 1 => "[/?.*#{}@\\\\ \\n\\r\\t\u{a0}\u{85}\u{2028}é]{0,5}"];
    (scheme, separator, host, port, path)
        .prop_map(|(scheme, separator, host, port, path)| format!("{scheme}{separator}{host}{port}{path}"))
}

proptest! {
    #[test]
    fn servers_and_admission_agree_about_redirect_uris(
        mut uris in prop_oneof![any_uri().prop_map(|uri| vec![uri]), proptest::collection::vec(any_uri(), 2..4)], repeated in proptest::bool::weighted(0.2),
    ) {
        uris.extend(uris.first().cloned().filter(|_| repeated));
        compared(&uris)?;
    }
}
