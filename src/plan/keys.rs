//! The Secret with the endpoint's signing keys. Made once, then kept byte for byte while the keys are usable.

use super::{
    Inputs, PlanError, PlannedObject, json,
    metadata::{Component, Owner},
};
use crate::config::{KEYS_FILE, SigningKeys};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use rand::CryptoRng;

/// The suffix of the Secret's name.
pub(super) const SUFFIX: &str = "signing-keys";

/// What comes out.
pub(super) struct Planned {
    pub(super) secret: PlannedObject,
    /// The bytes of its file.
    pub(super) file: Vec<u8>,
    pub(super) keys: SigningKeys,
}

/// Plans the Secret with the signing keys.
pub(super) fn plan(inputs: &Inputs<'_>, owner: &Owner<'_>, rng: &mut dyn CryptoRng) -> Result<Planned, PlanError> {
    let name = owner.named(SUFFIX);
    let observed = inputs.secrets.get(&name);
    if observed.is_some_and(|secret| !owner.owns(secret)) {
        return Err(PlanError::NameTaken { secret: name });
    }
    let kept = observed.and_then(usable);
    let generated = kept.is_none();
    let (file, keys) = kept.map_or_else(|| generate(inputs, rng), Ok)?;
    let secret = Secret {
        metadata: owner.metadata(name, Component::Credentials),
        data: Some([(KEYS_FILE.to_owned(), ByteString(file.clone()))].into()),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    };
    Ok(Planned { secret: PlannedObject::credentials(&secret, observed, generated)?, file, keys })
}

fn usable(secret: &Secret) -> Option<(Vec<u8>, SigningKeys)> {
    let file = secret.data.as_ref()?.get(KEYS_FILE)?.0.as_slice();
    let keys: SigningKeys = serde_json::from_slice(file).ok()?;
    keys.validate().is_ok().then(|| (file.to_vec(), keys))
}

fn generate(inputs: &Inputs<'_>, rng: &mut dyn CryptoRng) -> Result<(Vec<u8>, SigningKeys), PlanError> {
    let keys = SigningKeys::generate(inputs.now, rng)?;
    Ok((json(&keys)?.into_bytes(), keys))
}
