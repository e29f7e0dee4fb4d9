//! The credentials of clients: the Secret of each confidential client, and the verifiers of all clients.

use crate::{
    ClientPlan, ClientProblem, Inputs,
    client_secret::{Credential, text},
    keys, login,
    metadata::{Component, Owner},
    rotation_request,
};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt as _;
use portcullis_api::{
    OAuthClient,
    client::{ExistingSecret, GeneratedSecret},
};
use portcullis_config::{CLIENTS_FILE, ClientVerifier, Clients, SecretHash, SecretVerifier};
use portcullis_core::{PublicUrl, client::ClientType};
use rand::CryptoRng;
use std::collections::BTreeSet;

/// The suffix of the name of the verifiers' Secret.
pub(super) const VERIFIERS_SUFFIX: &str = "clients";

/// The minimum length in characters of a secret that was not generated here: [`SecretHash`] relies on it.
const MIN_EXISTING_CHARS: usize = 32;

/// The planned credentials of all clients.
#[derive(Default)]
pub(super) struct Credentials<'a> {
    /// The clients' own Secrets.
    pub(super) secrets: Vec<ClientSecret<'a>>,
    /// One per client, sorted by name.
    pub(super) plans: Vec<ClientPlan>,
    /// The verifiers for the servers.
    pub(super) verifiers: Clients,
}

/// A client's own Secret.
pub(super) struct ClientSecret<'a> {
    pub(super) desired: Secret,
    pub(super) observed: Option<&'a Secret>,
    /// Whether the client's secret in it is new.
    pub(super) generated: bool,
}

/// Plans every client that is not being deleted.
pub(super) fn plan<'a>(
    inputs: &Inputs<'a>,
    owner: &Owner<'_>,
    url: &PublicUrl,
    rng: &mut dyn CryptoRng,
) -> Credentials<'a> {
    // Servers watch clients that registered themselves. They are not in the file, so that a storm of registrations does
    // not reload servers.
    let counts =
        |client: &&OAuthClient| client.metadata.deletion_timestamp.is_none() && client.spec.registration.is_none();
    let mut clients: Vec<&OAuthClient> = inputs.clients.iter().copied().filter(counts).collect();
    clients.sort_by_key(|client| client.name_any());

    let mut planned = Credentials::default();
    let mut taken =
        BTreeSet::from([owner.named(VERIFIERS_SUFFIX), owner.named(keys::SUFFIX), owner.named(login::SUFFIX)]);
    let external = owner.endpoint().spec.external_issuer.as_ref();
    for client in clients {
        let mut plan = ClientPlan {
            name: client.name_any(),
            client_id: client.name_any(),
            secret_name: secret_name(client).filter(|_| external.is_none()),
            rotated_at: None,
            next_rotation: None,
            rotated_for: None,
            problem: None,
            change: None,
        };
        if let Some(external) = external {
            plan.problem = Some(ClientProblem::ExternalIssuer { issuer: external.issuer_url.clone() });
            planned.plans.push(plan);
            continue;
        }
        let verifiers = match (&plan.secret_name, &client.spec.existing_secret) {
            (None, _) => Ok(Vec::new()),
            (Some(_), Some(existing)) => verify_existing(inputs, owner, client, existing),
            (Some(name), None) => claim(inputs, owner, client, name, &mut taken).map(|observed| {
                let rotation = client.spec.secret.as_ref().and_then(|secret| secret.rotation.as_ref());
                let request = rotation_request(&client.metadata);
                let request = request.as_deref();
                let (credential, change) =
                    Credential::next(observed, &plan.client_id, rotation, request, inputs.now, rng);
                let desired = credential.render(owner, client, name, url);
                planned.secrets.push(ClientSecret { desired, observed, generated: change.is_some() });
                plan.rotated_at = Some(credential.rotated_at);
                plan.next_rotation = credential.next_rotation(rotation, request);
                plan.rotated_for.clone_from(&credential.request);
                plan.change = change;
                credential.verifiers(&plan.client_id)
            }),
        };
        match verifiers {
            Ok(secrets) => planned.verifiers.clients.push(verifier(client, secrets, plan.rotated_at)),
            Err(problem) => plan.problem = Some(problem),
        }
        planned.plans.push(plan);
    }
    planned.verifiers.clients.push(ClientVerifier::operator());
    planned.verifiers.clients.sort_by(|a, b| a.client_id.cmp(&b.client_id));
    planned
}

impl Credentials<'_> {
    /// When the next rotation is due or the next overlap ends.
    pub(super) fn next_change(&self) -> Option<Timestamp> {
        let rotations = self.plans.iter().filter_map(|plan| plan.next_rotation);
        let secrets = self.verifiers.clients.iter().flat_map(|client| &client.secrets);
        rotations.chain(secrets.filter_map(|secret| secret.expires_at)).min()
    }
}

/// Reserves the name of a client's own Secret, and returns the observed Secret of that name.
fn claim<'a>(
    inputs: &Inputs<'a>,
    owner: &Owner<'_>,
    client: &OAuthClient,
    name: &str,
    taken: &mut BTreeSet<String>,
) -> Result<Option<&'a Secret>, ClientProblem> {
    let observed = inputs.secrets.get(name);
    let foreign = observed.is_some_and(|secret| !owner.client_owns(client, secret));
    if foreign || !taken.insert(name.to_owned()) {
        return Err(ClientProblem::SecretNameTaken { secret: name.to_owned() });
    }
    Ok(observed)
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

fn verifier(client: &OAuthClient, secrets: Vec<SecretVerifier>, rotated_at: Option<Timestamp>) -> ClientVerifier {
    let created_at = client.metadata.creation_timestamp.as_ref().map(|time| time.0);
    ClientVerifier {
        client_id: client.name_any(),
        display_name: display_name(client),
        client_type: client.spec.client_type(),
        grants: client.spec.grants().to_vec(),
        scopes: client.spec.scopes.iter().copied().collect(),
        // A Secret that is older than its client was restored from a backup together with it: it is the same client. A
        // new client with the name of a deleted one gets a new Secret.
        registered_at: created_at.map(|created| rotated_at.map_or(created, |rotated| rotated.min(created))),
        redirect_uris: client.spec.redirect_uris().map(ToOwned::to_owned).collect(),
        secrets,
        private_key_jwt: client.spec.private_key_jwt.clone(),
    }
}

fn display_name(client: &OAuthClient) -> String {
    let preset = || client.spec.preset.display_name().map(str::to_owned);
    client.spec.display_name.clone().or_else(preset).unwrap_or_else(|| client.name_any())
}

/// The name of the client's Secret; `None` for a public client, and for one that authenticates with `private_key_jwt`.
fn secret_name(client: &OAuthClient) -> Option<String> {
    let spec = &client.spec;
    let given = |secret: &GeneratedSecret| secret.name.clone();
    if spec.private_key_jwt.is_some() {
        return None;
    }
    match (spec.client_type(), &spec.existing_secret) {
        (ClientType::Public, _) => None,
        (ClientType::Confidential, Some(existing)) => Some(existing.name.clone()),
        (ClientType::Confidential, None) => {
            Some(spec.secret.as_ref().and_then(given).unwrap_or_else(|| format!("{}-oauth", client.name_any())))
        }
    }
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
    // `kubectl create secret --from-file` keeps a line break at the end of the file; clients do not send it.
    let text = text(secret, &existing.key).map(|text| text.trim_end_matches(['\r', '\n'])).unwrap_or_default();
    if text.is_empty() {
        return Err(ClientProblem::SecretKeyMissing { secret: name(), key: existing.key.clone() });
    }
    if text.chars().count() < MIN_EXISTING_CHARS {
        return Err(ClientProblem::SecretTooShort { secret: name() });
    }
    Ok(vec![SecretVerifier { hash: SecretHash::of(&client.name_any(), text), expires_at: None }])
}
