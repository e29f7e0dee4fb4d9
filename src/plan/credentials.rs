//! The clients' credentials: the Secret of each Confidential client, and the verifiers of all clients.
//!
//! A secret is made once, kept while its Secret is whole, replaced on schedule with an overlap in which both count, and
//! replaced at once, without overlap, when somebody deletes or empties it: that is how a person revokes a leaked one.

use super::{
    ClientPlan, ClientProblem, CredentialChange, Inputs, PREVIOUS_EXPIRES_ANNOTATION, PREVIOUS_HASH_ANNOTATION,
    PlanError, PlannedObject, ROTATED_AT_ANNOTATION, keys,
    metadata::{Component, Owner},
};
use crate::{
    api::{
        ClientType, OAuthClient,
        client::{ExistingSecret, GeneratedSecret, Rotation},
        quantity::Span,
    },
    config::{CLIENTS_FILE, ClientVerifier, Clients, PublicUrl, SecretHash, SecretVerifier},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt as _;
use rand::CryptoRng;
use std::collections::BTreeSet;

/// The suffix of the name of the Secret with the verifiers.
pub(super) const VERIFIERS_SUFFIX: &str = "clients";

const CLIENT_ID: &str = "client-id";
const CLIENT_SECRET: &str = "client-secret";
const URL: &str = "url";
const TOKEN_URL: &str = "token-url";

/// What a generated secret begins with, so that scanners of repositories and logs can tell one.
const SECRET_PREFIX: &str = "pcs_";
const SECRET_BYTES: usize = 32;
/// The fewest characters of a secret that somebody else made: [`SecretHash`] relies on it.
const MIN_EXISTING_CHARS: usize = 32;

/// What comes out for all clients.
pub(super) struct Credentials {
    /// The clients' own Secrets.
    pub(super) secrets: Vec<PlannedObject>,
    /// One per client, sorted by name.
    pub(super) plans: Vec<ClientPlan>,
    /// How the servers verify them.
    pub(super) verifiers: Clients,
    /// When something of this changes by itself next.
    pub(super) next_change: Option<Timestamp>,
}

/// Plans every client that is not being deleted.
pub(super) fn plan(
    inputs: &Inputs<'_>,
    owner: &Owner<'_>,
    url: &PublicUrl,
    rng: &mut dyn CryptoRng,
) -> Result<Credentials, PlanError> {
    let mut clients: Vec<&OAuthClient> =
        inputs.clients.iter().copied().filter(|client| client.metadata.deletion_timestamp.is_none()).collect();
    clients.sort_by_key(|client| client.name_any());

    let mut planned =
        Credentials { secrets: Vec::new(), plans: Vec::new(), verifiers: Clients::default(), next_change: None };
    let mut taken = BTreeSet::from([owner.named(VERIFIERS_SUFFIX), owner.named(keys::SUFFIX)]);
    for client in clients {
        let mut plan = ClientPlan {
            name: client.name_any(),
            client_id: client.name_any(),
            secret_name: None,
            rotated_at: None,
            next_rotation: None,
            problem: None,
            change: None,
        };
        let secrets = match (client.spec.client_type(), &client.spec.existing_secret) {
            (ClientType::Public, _) => Ok(Vec::new()),
            (ClientType::Confidential, Some(existing)) => {
                plan.secret_name = Some(existing.name.clone());
                verify_existing(inputs, owner, client, existing)
            }
            (ClientType::Confidential, None) => {
                let name = secret_name(client);
                plan.secret_name = Some(name.clone());
                let observed = inputs.secrets.get(&name);
                if observed.is_some_and(|secret| !owner.client_owns(client, secret)) || !taken.insert(name.clone()) {
                    Err(ClientProblem::SecretNameTaken { secret: name })
                } else {
                    let rotation = client.spec.secret.as_ref().and_then(|secret| secret.rotation.as_ref());
                    let (credential, change) =
                        Credential::next(observed, &plan.client_id, rotation, whole_seconds(inputs.now), rng);
                    let secret = credential.render(owner, client, &name, url);
                    planned.secrets.push(PlannedObject {
                        replaces: observed.and_then(|secret| secret.metadata.resource_version.clone()),
                        generated: change.is_some(),
                        ..PlannedObject::derived(&secret)?
                    });
                    plan.rotated_at = Some(credential.rotated_at);
                    plan.next_rotation = rotation.map(|rotation| after(credential.rotated_at, rotation.interval));
                    plan.change = change;
                    Ok(credential.verifiers(&plan.client_id))
                }
            }
        };
        match secrets {
            Ok(secrets) => planned.verifiers.clients.push(verifier(client, secrets)),
            Err(problem) => plan.problem = Some(problem),
        }
        planned.plans.push(plan);
    }
    let rotations = planned.plans.iter().filter_map(|plan| plan.next_rotation);
    let overlaps = planned.verifiers.clients.iter().flat_map(|client| &client.secrets).filter_map(|s| s.expires_at);
    planned.next_change = rotations.chain(overlaps).min();
    Ok(planned)
}

/// The Secret with all verifiers.
pub(super) fn verifiers_secret(owner: &Owner<'_>, file: &str) -> Secret {
    Secret {
        metadata: owner.metadata(owner.named(VERIFIERS_SUFFIX), Component::Credentials),
        data: Some([(CLIENTS_FILE.to_owned(), ByteString(file.as_bytes().to_vec()))].into()),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

fn verifier(client: &OAuthClient, secrets: Vec<SecretVerifier>) -> ClientVerifier {
    ClientVerifier {
        client_id: client.name_any(),
        client_type: client.spec.client_type(),
        grants: client.spec.grants().to_vec(),
        scopes: client.spec.scopes.iter().copied().collect(),
        redirect_uris: client.spec.redirect_uris().map(ToOwned::to_owned).collect(),
        secrets,
    }
}

fn secret_name(client: &OAuthClient) -> String {
    let given = |secret: &GeneratedSecret| secret.name.clone();
    client.spec.secret.as_ref().and_then(given).unwrap_or_else(|| format!("{}-oauth", client.name_any()))
}

fn verify_existing(
    inputs: &Inputs<'_>,
    owner: &Owner<'_>,
    client: &OAuthClient,
    existing: &ExistingSecret,
) -> Result<Vec<SecretVerifier>, ClientProblem> {
    let name = || existing.name.clone();
    let secret = inputs
        .secrets
        .get(&existing.name)
        .ok_or_else(|| ClientProblem::SecretNotFound { secret: name(), endpoint: owner.name().to_owned() })?;
    // A line's end is what `kubectl create secret --from-file` leaves; no client sends one.
    let text = text(secret, &existing.key).map(|text| text.trim_end_matches(['\r', '\n'])).unwrap_or_default();
    if text.is_empty() {
        return Err(ClientProblem::SecretKeyMissing { secret: name(), key: existing.key.clone() });
    }
    if text.chars().count() < MIN_EXISTING_CHARS {
        return Err(ClientProblem::SecretTooShort { secret: name() });
    }
    Ok(vec![SecretVerifier { hash: SecretHash::of(&client.name_any(), text), expires_at: None }])
}

/// A generated secret and its history, as a client's Secret holds it.
struct Credential {
    secret: String,
    rotated_at: Timestamp,
    /// The secret before, while it counts.
    previous: Option<(SecretHash, Timestamp)>,
}

impl Credential {
    /// What should be in force at `now`, and what had to be done for it.
    fn next(
        observed: Option<&Secret>,
        client_id: &str,
        rotation: Option<&Rotation>,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> (Self, Option<CredentialChange>) {
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

    fn verifiers(&self, client_id: &str) -> Vec<SecretVerifier> {
        let current = SecretVerifier { hash: SecretHash::of(client_id, &self.secret), expires_at: None };
        let previous = self.previous.clone().map(|(hash, end)| SecretVerifier { hash, expires_at: Some(end) });
        [Some(current), previous].into_iter().flatten().collect()
    }

    fn render(&self, owner: &Owner<'_>, client: &OAuthClient, name: &str, url: &PublicUrl) -> Secret {
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

fn text<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    std::str::from_utf8(&secret.data.as_ref()?.get(key)?.0).ok()
}

fn after(time: Timestamp, span: Span) -> Timestamp {
    time.checked_add(span.as_duration()).unwrap_or(Timestamp::MAX)
}

/// What annotations show.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
