//! The Secret with the endpoint's signing keys. Made once, then kept byte for byte while the keys are usable.

use super::{
    Inputs, PlanError, PlannedObject, json,
    metadata::{Component, Owner},
};
use crate::config::{KEYS_FILE, SigningKey, SigningKeys};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use rand::CryptoRng;

/// The suffix of the Secret's name.
pub(super) const SUFFIX: &str = "signing-keys";

/// The Secret, and the bytes of its file.
pub(super) fn plan(
    inputs: &Inputs<'_>,
    owner: &Owner<'_>,
    rng: &mut dyn CryptoRng,
) -> Result<(PlannedObject, Vec<u8>), PlanError> {
    let name = owner.named(SUFFIX);
    let observed = inputs.secrets.get(&name);
    if observed.is_some_and(|secret| !owner.owns(secret)) {
        return Err(PlanError::NameTaken { secret: name });
    }
    let kept = observed.and_then(usable).map(<[u8]>::to_vec);
    let generated = kept.is_none();
    let file = kept.map_or_else(|| generate(inputs, rng), Ok)?;
    let secret = Secret {
        metadata: owner.metadata(name, Component::Credentials),
        data: Some([(KEYS_FILE.to_owned(), ByteString(file.clone()))].into()),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    };
    Ok((PlannedObject::credentials(&secret, observed, generated)?, file))
}

fn usable(secret: &Secret) -> Option<&[u8]> {
    let file = secret.data.as_ref()?.get(KEYS_FILE)?.0.as_slice();
    let keys: SigningKeys = serde_json::from_slice(file).ok()?;
    keys.validate().is_ok().then_some(file)
}

fn generate(inputs: &Inputs<'_>, rng: &mut dyn CryptoRng) -> Result<Vec<u8>, PlanError> {
    let keys = SigningKeys { keys: vec![SigningKey::generate(inputs.now, rng)?] };
    json(&keys).map(String::into_bytes)
}
