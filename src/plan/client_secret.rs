//! One client's generated secret over time, as its Secret holds it.
//!
//! Made once, kept while its Secret is whole, replaced on schedule with an overlap in which both count, and replaced at
//! once, without overlap, when somebody deletes or empties the Secret: that is how a person revokes a leaked one.

use super::{
    CredentialChange, PREVIOUS_EXPIRES_ANNOTATION, PREVIOUS_HASH_ANNOTATION, ROTATED_AT_ANNOTATION, metadata::Owner,
};
use crate::{
    api::{OAuthClient, client::Rotation, quantity::Span},
    config::{PublicUrl, SecretHash, SecretVerifier},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt as _;
use rand::CryptoRng;

const CLIENT_ID: &str = "client-id";
const CLIENT_SECRET: &str = "client-secret";
const URL: &str = "url";
const TOKEN_URL: &str = "token-url";

/// What a generated secret begins with, so that scanners of repositories and logs can tell one.
const SECRET_PREFIX: &str = "pcs_";
const SECRET_BYTES: usize = 32;
/// A generated secret and its history, as a client's Secret holds it.
pub(super) struct Credential {
    secret: String,
    /// When it was made.
    pub(super) rotated_at: Timestamp,
    /// The secret before, while it counts.
    previous: Option<(SecretHash, Timestamp)>,
}

impl Credential {
    /// What should be in force at `now`, and what had to be done for it.
    pub(super) fn next(
        observed: Option<&Secret>,
        client_id: &str,
        rotation: Option<&Rotation>,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> (Self, Option<CredentialChange>) {
        let now = whole_seconds(now);
        let Some(observed) = observed else { return (Self::generate(now, rng), Some(CredentialChange::Created)) };
        let Some(held) = Self::read(observed, now) else {
            return (Self::generate(now, rng), Some(CredentialChange::Healed));
        };
        match rotation {
            Some(rotation) if after(held.rotated_at, rotation.interval) <= now => {
                let end = after(now, rotation.overlap);
                let previous = (now < end).then(|| (SecretHash::of(client_id, &held.secret), end));
                (Self { previous, ..Self::generate(now, rng) }, Some(CredentialChange::Rotated))
            }
            _ => (held, None),
        }
    }

    fn generate(now: Timestamp, rng: &mut dyn CryptoRng) -> Self {
        let mut bytes = [0_u8; SECRET_BYTES];
        rng.fill_bytes(&mut bytes);
        let secret = format!("{SECRET_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        Self { secret, rotated_at: now, previous: None }
    }

    /// `None` where the secret itself cannot be used.
    fn read(secret: &Secret, now: Timestamp) -> Option<Self> {
        let held = text(secret, CLIENT_SECRET)?;
        let bytes = URL_SAFE_NO_PAD.decode(held.strip_prefix(SECRET_PREFIX)?).ok()?;
        if bytes.len() != SECRET_BYTES {
            return None;
        }
        let annotation = |name| secret.annotations().get(name).map(String::as_str);
        let time = |name| annotation(name).and_then(|text| text.parse::<Timestamp>().ok());
        let previous = annotation(PREVIOUS_HASH_ANNOTATION)
            .and_then(SecretHash::parse)
            .zip(time(PREVIOUS_EXPIRES_ANNOTATION))
            .filter(|(_, end)| now < *end);
        // A time to come would put the rotation off, maybe for ever.
        let rotated_at = time(ROTATED_AT_ANNOTATION).filter(|at| *at <= now).unwrap_or(now);
        Some(Self { secret: held.to_owned(), rotated_at, previous })
    }

    /// The secrets that count.
    pub(super) fn verifiers(&self, client_id: &str) -> Vec<SecretVerifier> {
        let current = SecretVerifier { hash: SecretHash::of(client_id, &self.secret), expires_at: None };
        let previous = self.previous.clone().map(|(hash, end)| SecretVerifier { hash, expires_at: Some(end) });
        [Some(current), previous].into_iter().flatten().collect()
    }

    /// The client's Secret.
    pub(super) fn render(&self, owner: &Owner<'_>, client: &OAuthClient, name: &str, url: &PublicUrl) -> Secret {
        let mut metadata = owner.client_metadata(name, client);
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(ROTATED_AT_ANNOTATION.to_owned(), self.rotated_at.to_string());
        if let Some((hash, end)) = &self.previous {
            annotations.insert(PREVIOUS_HASH_ANNOTATION.to_owned(), hash.as_str().to_owned());
            annotations.insert(PREVIOUS_EXPIRES_ANNOTATION.to_owned(), end.to_string());
        }
        let data = [
            (CLIENT_ID, client.name_any()),
            (CLIENT_SECRET, self.secret.clone()),
            (URL, url.resource()),
            (TOKEN_URL, url.issuer_url("/token")),
        ];
        Secret {
            metadata,
            data: Some(data.map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes()))).into()),
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        }
    }
}

/// The text under a key of a Secret.
pub(super) fn text<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    std::str::from_utf8(&secret.data.as_ref()?.get(key)?.0).ok()
}

/// `span` after `time`.
pub(super) fn after(time: Timestamp, span: Span) -> Timestamp {
    time.checked_add(span.as_duration()).unwrap_or(Timestamp::MAX)
}

/// What annotations and files show.
pub(super) fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
