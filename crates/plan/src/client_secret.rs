//! The generated secret of one client and its rotation, as stored in the client's Secret.
//!
//! The secret is generated once, kept while its Secret is intact, and rotated on schedule with an overlap in which both
//! secrets are valid. If the Secret is deleted or emptied, the secret is replaced at once and without an overlap, which
//! revokes a leaked secret. An annotation of the client requests a rotation with an overlap.

use crate::{
    CredentialChange, PREVIOUS_EXPIRES_ANNOTATION, PREVIOUS_HASH_ANNOTATION, ROTATE_ANNOTATION, ROTATED_AT_ANNOTATION,
    metadata::Owner,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt as _;
use portcullis_api::{OAuthClient, client::Rotation};
use portcullis_config::{SecretHash, SecretVerifier};
use portcullis_core::{PublicUrl, quantity::Span};
use rand::CryptoRng;

const CLIENT_ID: &str = "client-id";
const CLIENT_SECRET: &str = "client-secret";
const URL: &str = "url";
const TOKEN_URL: &str = "token-url";

/// The prefix of generated secrets, by which scanners of repositories and logs recognize them.
const SECRET_PREFIX: &str = "pcs_";
const SECRET_BYTES: usize = 32;
/// A generated secret and its history, as stored in a client's Secret.
pub(super) struct Credential {
    secret: String,
    /// When the secret was generated.
    pub(super) rotated_at: Timestamp,
    /// The hash and the expiry of the previous secret, while it is valid.
    previous: Option<(SecretHash, Timestamp)>,
    /// The last value of [`ROTATE_ANNOTATION`] that was acted on.
    pub(super) request: Option<String>,
}

impl Credential {
    /// The credential at `now`, and the change of the observed Secret that it requires.
    pub(super) fn next(
        observed: Option<&Secret>,
        client_id: &str,
        rotation: Option<&Rotation>,
        request: Option<&str>,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> (Self, Option<CredentialChange>) {
        let now = whole_seconds(now);
        let Some(observed) = observed else {
            return (Self::generate(request, now, rng), Some(CredentialChange::Created));
        };
        let Some(held) = Self::read(observed, now) else {
            return (Self::generate(request, now, rng), Some(CredentialChange::Healed));
        };
        let is_due = rotation.is_some_and(|rotation| after(held.rotated_at, rotation.interval) <= now);
        // At most two secrets are valid: a request during an overlap waits for its end, so that no client loses access.
        if !is_due && (!held.awaits(request) || held.previous.is_some()) {
            return (held, None);
        }
        let end = after(now, rotation.map_or_else(Rotation::default_overlap, |rotation| rotation.overlap));
        let previous = (now < end).then(|| (SecretHash::of(client_id, &held.secret), end));
        let request = request.or(held.request.as_deref());
        (Self { previous, ..Self::generate(request, now, rng) }, Some(CredentialChange::Rotated))
    }

    /// Whether this request is still to be acted on.
    fn awaits(&self, request: Option<&str>) -> bool {
        request.is_some() && request != self.request.as_deref()
    }

    /// When the secret will be replaced; `None` without a schedule or a pending request.
    pub(super) fn next_rotation(&self, rotation: Option<&Rotation>, request: Option<&str>) -> Option<Timestamp> {
        let scheduled = rotation.map(|rotation| after(self.rotated_at, rotation.interval));
        let requested = self.previous.as_ref().filter(|_| self.awaits(request)).map(|(_, end)| *end);
        scheduled.into_iter().chain(requested).min()
    }

    fn generate(request: Option<&str>, now: Timestamp, rng: &mut dyn CryptoRng) -> Self {
        let mut bytes = [0_u8; SECRET_BYTES];
        rng.fill_bytes(&mut bytes);
        let secret = format!("{SECRET_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        Self { secret, rotated_at: now, previous: None, request: request.map(ToOwned::to_owned) }
    }

    /// Reads a Secret; `None` if the client secret in it is missing or malformed.
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
        // A time in the future would postpone the rotation, perhaps forever.
        let rotated_at = time(ROTATED_AT_ANNOTATION).filter(|at| *at <= now).unwrap_or(now);
        let request = annotation(ROTATE_ANNOTATION).map(ToOwned::to_owned);
        Some(Self { secret: held.to_owned(), rotated_at, previous, request })
    }

    /// The verifiers of the valid secrets.
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
        if let Some(request) = &self.request {
            annotations.insert(ROTATE_ANNOTATION.to_owned(), request.clone());
        }
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

/// The value of a key of a Secret, if it is UTF-8.
pub(super) fn text<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    std::str::from_utf8(&secret.data.as_ref()?.get(key)?.0).ok()
}

/// `time` plus `span`; [`Timestamp::MAX`] on overflow.
pub(super) fn after(time: Timestamp, span: Span) -> Timestamp {
    time.checked_add(span.as_duration()).unwrap_or(Timestamp::MAX)
}

/// The time without a fraction of a second, as in annotations and files.
pub(super) fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
