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
    let (file, generated) = match observed.and_then(usable) {
        Some(file) => (file.to_vec(), false),
        None => {
            let keys = SigningKeys { keys: vec![SigningKey::generate(inputs.now, rng)?] };
            (json(&keys)?.into_bytes(), true)
        }
    };
    let secret = Secret {
        metadata: owner.metadata(name, Component::Credentials),
        data: Some([(KEYS_FILE.to_owned(), ByteString(file.clone()))].into()),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    };
    let replaces = observed.and_then(|secret| secret.metadata.resource_version.clone());
    Ok((PlannedObject { replaces, generated, ..PlannedObject::derived(&secret)? }, file))
}

fn usable(secret: &Secret) -> Option<&[u8]> {
    let file = secret.data.as_ref()?.get(KEYS_FILE)?.0.as_slice();
    let keys: SigningKeys = serde_json::from_slice(file).ok()?;
    keys.validate().is_ok().then_some(file)
}
