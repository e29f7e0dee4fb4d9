//! `clients.json`: the clients that may obtain tokens. It contains hashes of the secrets, never the secrets.

use jiff::Timestamp;
use portcullis_core::hex;
use portcullis_core::{
    Scope,
    client::{ClientType, Grant, PrivateKeyJwt},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use subtle::{Choice, ConstantTimeEq as _};

/// The client id in the tokens with which the operator verifies servers.
///
/// An `OAuthClient` cannot have this name. The client has neither a secret nor a grant type, so a token for it can only
/// be made with the signing keys. It has no scope, so such a token permits only discovery.
pub const OPERATOR_CLIENT_ID: &str = "portcullis:operator";

/// All clients of one endpoint, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Clients {
    /// Sorted by `client_id`, each once.
    pub clients: Vec<ClientVerifier>,
}

/// One client, and how it authenticates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientVerifier {
    /// The `client_id`: the name of its `OAuthClient`.
    pub client_id: String,
    /// The name on the consent page.
    pub display_name: String,
    /// Whether it is confidential or public.
    pub client_type: ClientType,
    /// The allowed grant types.
    pub grants: Vec<Grant>,
    /// The allowed scopes.
    pub scopes: BTreeSet<Scope>,
    /// When it was created. Older tokens belong to a deleted client of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<Timestamp>,
    /// The redirect URIs.
    pub redirect_uris: Vec<String>,
    /// The valid secrets: one, or two during an overlap; none for a public client.
    pub secrets: Vec<SecretVerifier>,
    /// The keys for its assertions, if it has no secret (`private_key_jwt`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key_jwt: Option<PrivateKeyJwt>,
}

/// The hash of one secret, and its expiry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretVerifier {
    /// The hash of the secret.
    pub hash: SecretHash,
    /// When it becomes invalid; `None`: when it is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// `sha256:` and 64 hexadecimal digits, over the client's id and its secret.
///
/// A plain hash is enough because the secret is at least as long as the hash: generated ones have 256 random bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretHash(String);

impl SecretHash {
    /// Hashes a client's secret.
    #[must_use]
    pub fn of(client_id: &str, secret: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"portcullis client secret\0");
        hash.update(client_id.as_bytes());
        hash.update(b"\0");
        hash.update(secret.as_bytes());
        Self(format!("sha256:{}", hex(&hash.finalize())))
    }

    /// Parses the text of a hash; `None` if it is malformed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("sha256:")?;
        let valid = digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        valid.then(|| Self(text.to_owned()))
    }

    /// The text of the hash, as in files and annotations.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ClientVerifier {
    /// The operator itself: see [`OPERATOR_CLIENT_ID`].
    #[must_use]
    pub fn operator() -> Self {
        Self {
            client_id: OPERATOR_CLIENT_ID.to_owned(),
            display_name: "the Portcullis operator".to_owned(),
            client_type: ClientType::Public,
            grants: Vec::new(),
            scopes: BTreeSet::new(),
            registered_at: None,
            redirect_uris: Vec::new(),
            secrets: Vec::new(),
            private_key_jwt: None,
        }
    }

    /// Whether `secret` is valid for the client at `now`. The hashes are compared in constant time.
    #[must_use]
    pub fn verifies(&self, secret: &str, now: Timestamp) -> bool {
        let presented = SecretHash::of(&self.client_id, secret);
        let equal = self.secrets.iter().fold(Choice::from(0), |found, verifier| {
            let counts = Choice::from(u8::from(verifier.expires_at.is_none_or(|end| now < end)));
            found | (verifier.hash.0.as_bytes().ct_eq(presented.0.as_bytes()) & counts)
        });
        equal.into()
    }
}

impl Clients {
    /// The client with this id.
    #[must_use]
    pub fn get(&self, client_id: &str) -> Option<&ClientVerifier> {
        self.clients
            .binary_search_by(|client| client.client_id.as_str().cmp(client_id))
            .ok()
            .and_then(|index| self.clients.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn both_secrets_count_in_the_overlap_and_only_the_new_one_after() {
        let client = ClientVerifier {
            client_id: "claude".to_owned(),
            display_name: "Claude".to_owned(),
            client_type: ClientType::Confidential,
            grants: vec![Grant::ClientCredentials],
            scopes: BTreeSet::from([Scope::WorkspacesRead]),
            registered_at: None,
            redirect_uris: Vec::new(),
            secrets: vec![
                SecretVerifier { hash: SecretHash::of("claude", "new"), expires_at: None },
                SecretVerifier { hash: SecretHash::of("claude", "old"), expires_at: Some(at(100)) },
            ],
            private_key_jwt: None,
        };
        assert!(client.verifies("new", at(99)) && client.verifies("old", at(99)));
        assert!(client.verifies("new", at(100)) && !client.verifies("old", at(100)));
        assert!(!client.verifies("", at(0)) && !client.verifies("other", at(0)));
    }

    #[test]
    fn a_hash_is_bound_to_its_client() {
        assert_ne!(SecretHash::of("a", "secret"), SecretHash::of("b", "secret"));
        let hash = SecretHash::of("a", "secret");
        assert_eq!(SecretHash::parse(hash.as_str()), Some(hash));
        assert_eq!(SecretHash::parse("sha256:00"), None);
    }
}
