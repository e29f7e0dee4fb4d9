//! Clients that are described by a document at the URL that is their id (OAuth Client ID Metadata Documents,
//! draft-ietf-oauth-client-id-metadata-document; preferred by MCP since 2025-11-25).
//!
//! Stricter than the draft where it leaves a choice: an administrator must allow the host, and an `https` callback is
//! accepted only at the document's own host or a subdomain, so that the host on the consent page is the one that
//! receives the code. A callback on a loopback address or with a private-use scheme stays on the user's machine.

use crate::client::{Client, ClientError, Origin};
use crate::clients::{
    MAX_NAME, callbacks,
    fetched::{FetchCache, MAX_FRESH, Unusable},
};
use jiff::Timestamp;
use portcullis_config::ClientVerifier;
use portcullis_core::{
    authorization::MetadataDocuments,
    client::{ClientType, Grant, JsonWebKeySet, PrivateKeyJwt},
    json, names,
};
use portcullis_outbound::{Outbound, guard};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;
use std::sync::Arc;
use url::Url;

/// The maximum size of a document, in bytes. The draft recommends 5 kilobytes, but RSA keys take more.
const MAX_BYTES: usize = 16 << 10;
/// The maximum number of keys, as of an `OAuthClient`.
const MAX_KEYS: usize = 16;
/// The members that only private and symmetric keys have (RFC 7518 §6).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The cached documents. Survives reloads of the configuration.
pub struct Documents {
    cache: FetchCache<Document>,
}

/// The supported metadata of a client (RFC 7591 §2).
#[derive(Debug, PartialEq, Eq)]
struct Document {
    name: Option<String>,
    redirect_uris: Vec<String>,
    grants: Vec<Grant>,
    keys: Option<PrivateKeyJwt>,
}

#[derive(Deserialize)]
struct Raw {
    client_id: String,
    client_name: Option<String>,
    redirect_uris: Option<Vec<String>>,
    grant_types: Option<Vec<String>>,
    response_types: Option<Vec<String>>,
    token_endpoint_auth_method: Option<String>,
    jwks: Option<Value>,
    jwks_uri: Option<String>,
    client_secret: Option<IgnoredAny>,
    client_secret_expires_at: Option<IgnoredAny>,
}

/// Whether this is the id of a client with a document. Ids that a server issues never are.
#[must_use]
pub fn is_document(client_id: &str) -> bool {
    client_id.starts_with("https://")
}

/// The host of a client's id, if the id is a URL that the draft allows, and `policy` allows the host.
pub fn allowed_host(client_id: &str, policy: &MetadataDocuments) -> Result<String, ClientError> {
    let unusable = |why: &str| ClientError::Document(why.to_owned());
    let url = guard::admit(client_id).map_err(|why| unusable(&format!("its URL is not fetched: {why}")))?;
    // The URL must equal its parsed form: no dot segments, no capitals in the host, no port, nothing that the parser
    // skips.
    if url.as_str() != client_id {
        return Err(unusable("its URL must be in normalized form, without dot segments"));
    }
    if url.path() == "/" {
        return Err(unusable("its URL must have a path"));
    }
    let host = url.host_str().unwrap_or_default();
    if !policy.allows(host) {
        return Err(unusable(&format!(
            "documents from {host} are not accepted here; an administrator can add it to spec.clients.metadataDocuments.allowedHosts"
        )));
    }
    Ok(host.to_owned())
}

impl Documents {
    /// An empty cache.
    #[must_use]
    pub fn new(outbound: Arc<Outbound>) -> Self {
        Self { cache: FetchCache::new(outbound, MAX_BYTES, MAX_FRESH) }
    }

    /// The client that the document at `client_id` describes.
    pub async fn find(
        &self,
        client_id: &str,
        policy: &MetadataDocuments,
        now: Timestamp,
    ) -> Result<Arc<Client>, ClientError> {
        let host = allowed_host(client_id, policy)?;
        let read = |body: &[u8]| Document::read(client_id, &host, body);
        let found = self.cache.get(client_id, now, None, read).await;
        let document = found.map_err(|Unusable(why)| ClientError::Document(why))?;
        let client_type = if document.keys.is_some() { ClientType::Confidential } else { ClientType::Public };
        Ok(Arc::new(Client {
            verifier: ClientVerifier {
                client_id: client_id.to_owned(),
                display_name: document.name.clone().unwrap_or_else(|| host.clone()),
                client_type,
                grants: document.grants.clone(),
                scopes: policy.scopes.iter().copied().collect(),
                registered_at: None,
                redirect_uris: document.redirect_uris.clone(),
                secrets: Vec::new(),
                private_key_jwt: document.keys.clone(),
            },
            origin: Origin::Document { host },
        }))
    }
}

impl Document {
    fn read(client_id: &str, host: &str, body: &[u8]) -> Result<Self, String> {
        let raw: Raw = json::object(body)
            .map_err(|error| format!("it is not the JSON of a client's metadata (line {})", error.line()))?;
        if raw.client_id != client_id {
            return Err("its client_id is not exactly its own URL".to_owned());
        }
        if raw.client_secret.is_some() || raw.client_secret_expires_at.is_some() {
            return Err("it must have no client_secret; use private_key_jwt or none".to_owned());
        }
        if raw.response_types.is_some_and(|types| !types.iter().any(|one| one == "code")) {
            return Err("its response_types must have code".to_owned());
        }
        let mut redirect_uris = raw.redirect_uris.unwrap_or_default();
        callbacks::check(&redirect_uris)?;
        redirect_uris.retain(|uri| is_of_host(uri, host));
        if redirect_uris.is_empty() {
            return Err(format!("none of its redirect_uris is at {host}, on a loopback address or of an app"));
        }
        let keys = match raw.token_endpoint_auth_method.as_deref() {
            // The default of RFC 7591 is client_secret_basic, which is not possible here.
            None | Some("none") => None,
            Some("private_key_jwt") => Some(keys(raw.jwks, raw.jwks_uri)?),
            Some(_) => return Err("its token_endpoint_auth_method must be none or private_key_jwt".to_owned()),
        };
        let grants = match raw.grant_types {
            None => vec![Grant::AuthorizationCode],
            // Other grant types are for other servers. A document cannot make a client an unattended agent here.
            Some(types) => [Grant::AuthorizationCode, Grant::RefreshToken]
                .into_iter()
                .filter(|grant| types.iter().any(|one| one == grant.as_str()))
                .collect(),
        };
        if !grants.contains(&Grant::AuthorizationCode) {
            return Err("its grant_types must have authorization_code".to_owned());
        }
        Ok(Self {
            name: raw.client_name.as_deref().and_then(|name| names::cleaned(name, MAX_NAME)),
            redirect_uris,
            grants,
            keys,
        })
    }
}

/// Whether a callback is at this host or a subdomain, or is not an https URL.
fn is_of_host(uri: &str, host: &str) -> bool {
    let Ok(url) = Url::parse(uri) else { return false };
    let below = |found: &str| found.strip_suffix(host).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    url.scheme() != "https" || url.host_str().is_some_and(below)
}

fn keys(jwks: Option<Value>, jwks_uri: Option<String>) -> Result<PrivateKeyJwt, String> {
    match (jwks, jwks_uri) {
        (Some(jwks), None) => Ok(PrivateKeyJwt { jwks: Some(public_keys(&jwks)?), jwks_uri: None }),
        (None, Some(uri)) => {
            guard::admit(&uri).map_err(|why| format!("its jwks_uri is not fetched: {why}"))?;
            Ok(PrivateKeyJwt { jwks: None, jwks_uri: Some(uri) })
        }
        _ => Err("private_key_jwt needs exactly one of jwks and jwks_uri".to_owned()),
    }
}

/// The keys of a published key set that have a known type. Fails if the set contains a private or symmetric key.
pub(super) fn public_keys(set: &Value) -> Result<JsonWebKeySet, String> {
    let Some(Value::Array(keys)) = set.get("keys") else { return Err("its key set has no keys".to_owned()) };
    if keys.len() > MAX_KEYS {
        return Err(format!("its key set has more than {MAX_KEYS} keys"));
    }
    if keys.iter().any(|key| PRIVATE_MEMBERS.iter().any(|member| key.get(member).is_some())) {
        return Err("its key set contains a private or symmetric key, which is now public; replace it".to_owned());
    }
    let known = |key: &&Value| matches!(key.get("kty").and_then(Value::as_str), Some("EC" | "OKP" | "RSA"));
    let keys: Result<Vec<_>, _> = keys.iter().filter(known).cloned().map(serde_json::from_value).collect();
    let keys = keys.map_err(|_| "its key set cannot be read".to_owned())?;
    if keys.is_empty() {
        return Err("its key set has no key of the kinds EC, OKP and RSA".to_owned());
    }
    Ok(JsonWebKeySet { keys })
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::Scope;
    use proptest::prelude::*;
    use serde_json::json;

    const ID: &str = "https://claude.ai/oauth/client.json";

    fn document() -> Value {
        json!({"client_id": ID, "client_name": "Claude", "redirect_uris": ["https://claude.ai/callback"],
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
            "token_endpoint_auth_method": "none", "logo_uri": "https://claude.ai/logo.png", "scope": "openid"})
    }

    fn read(changes: &Value) -> Result<Document, String> {
        let mut document = document();
        for (name, value) in changes.as_object().unwrap() {
            document[name] = value.clone();
        }
        Document::read(ID, "claude.ai", document.to_string().as_bytes())
    }

    #[test]
    fn ids_are_normalized_urls_at_allowed_hosts() {
        let policy = MetadataDocuments { allowed_hosts: vec!["claude.ai".to_owned()], scopes: vec![Scope::FilesRead] };
        for (id, expected) in [
            (ID, "claude.ai"),
            ("https://claude.ai/client?v=2", "claude.ai"),
            ("https://claude.ai", "normalized form"),
            ("https://claude.ai/", "must have a path"),
            ("https://claude.ai/?a", "must have a path"),
            ("https://claude.ai/a/../b", "normalized form"),
            ("https://claude.ai/./b", "normalized form"),
            ("https://claude.ai/a/%2e%2e/b", "normalized form"),
            ("https://Claude.ai/b", "normalized form"),
            ("https://claude.ai:443/b", "normalized form"),
            ("https://claude.ai\\b", "normalized form"),
            ("https://claude.ai/b\n", "normalized form"),
            ("https://claude.ai/b#c", "no fragment"),
            ("https://user@claude.ai/b", "no user information"),
            ("http://claude.ai/b", "must begin with https"),
            ("https://evil.com/b", "not accepted here"),
            ("https://sub.claude.ai/b", "not accepted here"),
            ("https://claude.ai.evil.com/b", "not accepted here"),
            ("https://127.0.0.1/b", "must be a name"),
        ] {
            let found = allowed_host(id, &policy);
            let text = found.map_err(|error| error.to_string()).unwrap_or_else(|text| text);
            assert!(text.contains(expected), "{id}: {text}");
        }
    }

    #[test]
    fn a_policy_of_any_host_still_takes_public_names_only() {
        let policy = MetadataDocuments::of_any_host();
        assert_eq!(allowed_host("https://agents.example.com/client", &policy).unwrap(), "agents.example.com");
        for id in ["https://127.0.0.1/b", "https://localhost/b", "https://printer.local/b", "https://*/b"] {
            assert!(allowed_host(id, &policy).is_err(), "{id}");
        }
    }

    #[test]
    fn a_document_says_what_the_client_is() {
        assert_eq!(
            read(&json!({})),
            Ok(Document {
                name: Some("Claude".to_owned()),
                redirect_uris: vec!["https://claude.ai/callback".to_owned()],
                grants: vec![Grant::AuthorizationCode, Grant::RefreshToken],
                keys: None,
            })
        );
        // Callbacks at other hosts are ignored; those on the user's machine are accepted.
        let callbacks = ["http://127.0.0.1/cb", "https://evil.com/cb", "https://eu.claude.ai/cb", "claude://app/cb"];
        let found = read(&json!({"redirect_uris": callbacks})).unwrap();
        assert_eq!(found.redirect_uris, ["http://127.0.0.1/cb", "https://eu.claude.ai/cb", "claude://app/cb"]);
        assert_eq!(read(&json!({"grant_types": null})).unwrap().grants, [Grant::AuthorizationCode]);
        assert_eq!(read(&json!({"client_name": "\u{202e}"})).unwrap().name, None);
        assert_eq!(read(&json!({"token_endpoint_auth_method": null})).unwrap().keys, None);
        let key = json!({"kty": "EC", "crv": "P-256", "x": "x", "y": "y", "kid": "1", "x5t": "ignored"});
        let symmetric_kind = json!({"kty": "AKP", "pub": "x"});
        let inline = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [symmetric_kind, key]}});
        assert_eq!(read(&inline).unwrap().keys.unwrap().jwks.unwrap().keys.len(), 1);
        let by_uri = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://claude.ai/jwks"});
        assert_eq!(read(&by_uri).unwrap().keys.unwrap().jwks_uri.unwrap(), "https://claude.ai/jwks");
    }

    #[test]
    fn a_document_that_is_wrong_in_one_thing_is_refused() {
        let signs = |more: Value| {
            let mut all = json!({"token_endpoint_auth_method": "private_key_jwt"});
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        };
        let private = json!({"kty": "EC", "crv": "P-256", "x": "x", "y": "y", "d": "secret"});
        for (changes, expected) in [
            (json!({"client_id": "https://claude.ai/oauth/client.json/"}), "not exactly its own URL"),
            (json!({"client_id": "https://CLAUDE.ai/oauth/client.json"}), "not exactly its own URL"),
            (json!({"client_id": null}), "not the JSON"),
            (json!({"client_id": ["a"]}), "not the JSON"),
            (json!({"client_secret": "s3cret"}), "no client_secret"),
            (json!({"client_secret_expires_at": 0}), "no client_secret"),
            (json!({"response_types": ["token"]}), "response_types"),
            (json!({"grant_types": ["client_credentials"]}), "grant_types"),
            (json!({"grant_types": []}), "grant_types"),
            (json!({"redirect_uris": null}), "redirect_uris must have"),
            (json!({"redirect_uris": []}), "redirect_uris must have"),
            (json!({"redirect_uris": ["https://evil.com/cb"]}), "none of its redirect_uris"),
            (json!({"redirect_uris": ["https://notclaude.ai/cb"]}), "none of its redirect_uris"),
            (json!({"redirect_uris": ["https://claude.ai/cb", "javascript://claude.ai/%0aalert(1)"]}), "javascript"),
            (json!({"redirect_uris": ["http://claude.ai/cb"]}), "its scheme is not allowed for callbacks"),
            (json!({"redirect_uris": "https://claude.ai/cb"}), "not the JSON"),
            (json!({"token_endpoint_auth_method": "client_secret_basic"}), "none or private_key_jwt"),
            (json!({"token_endpoint_auth_method": "client_secret_post"}), "none or private_key_jwt"),
            (json!({"token_endpoint_auth_method": "client_secret_jwt"}), "none or private_key_jwt"),
            (json!({"token_endpoint_auth_method": "tls_client_auth"}), "none or private_key_jwt"),
            (signs(json!({})), "exactly one of jwks"),
            (signs(json!({"jwks": {"keys": []}, "jwks_uri": "https://claude.ai/jwks"})), "exactly one of jwks"),
            (signs(json!({"jwks": {"keys": [private]}})), "private or symmetric key"),
            (signs(json!({"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}})), "private or symmetric key"),
            (signs(json!({"jwks": {"keys": []}})), "no key of the kinds"),
            (signs(json!({"jwks": {"keys": vec![json!({"kty": "EC"}); 17]}})), "more than 16"),
            (signs(json!({"jwks": []})), "no keys"),
            (signs(json!({"jwks_uri": "https://169.254.169.254/latest"})), "jwks_uri is not fetched"),
            (signs(json!({"jwks_uri": "http://claude.ai/jwks"})), "jwks_uri is not fetched"),
        ] {
            let found = read(&changes).unwrap_err();
            assert!(found.contains(expected), "{changes}: {found}");
            assert!(!found.contains("s3cret"), "{found}");
        }
        for body in
            ["", "[]", "null", "{}", "<html>", "{\"client_id\": 1}", "{\"client_id\": \"a\", \"client_id\": \"b\"}"]
        {
            assert!(Document::read(ID, "claude.ai", body.as_bytes()).is_err(), "{body}");
        }
        let deep = format!("{}{}", "[".repeat(8_000), "]".repeat(8_000));
        assert!(Document::read(ID, "claude.ai", deep.as_bytes()).is_err(), "nested deeper than a stack is");
    }

    proptest! {
        #[test]
        fn whatever_a_document_says_its_callbacks_are_its_own(document in portcullis_testing::strategies::changed(document(), &[
            "client_id", "client_name", "redirect_uris", "grant_types", "response_types", "token_endpoint_auth_method",
            "jwks", "jwks_uri", "client_secret",
        ])) {
            if let Ok(read) = Document::read(ID, "claude.ai", document.to_string().as_bytes()) {
                prop_assert_eq!(&document["client_id"], ID);
                for uri in &read.redirect_uris {
                    prop_assert!(crate::redirect::check(uri).is_ok(), "{}", uri);
                }
            }
        }

        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Document::read(ID, "claude.ai", &body).is_err());
        }
    }
}
