//! The Secret with the endpoint's signing and sealing keys. Keys are generated once, rotated on schedule, and replaced
//! individually if they are damaged. An unchanged file is kept byte for byte.

use crate::{
    Inputs, KeyChange, PlanError, PlannedObject, ROTATE_ANNOTATION, json,
    key_schedule::Schedule,
    metadata::{Component, Owner},
    rotation_request,
};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use portcullis_api::endpoint::Tokens;
use portcullis_config::{KEYS_FILE, SealingKey, SigningKey, SigningKeys};
use rand::CryptoRng;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{collections::BTreeSet, convert::Infallible, time::Duration};

/// The suffix of the Secret's name.
pub(super) const SUFFIX: &str = "signing-keys";

/// The maximum lifetime of an access token that admission allows. It is used instead of the current lifetime, which may
/// have been longer shortly before.
const LONGEST_ACCESS: Duration = Duration::from_hours(1);
/// The maximum lifetime of a grant that admission allows.
const LONGEST_REFRESH: Duration = Duration::from_hours(8760);
/// A margin for clock skew, and for the time until servers load a new key.
const MARGIN: Duration = Duration::from_mins(5);

/// The planned keys.
pub(super) struct PlannedKeys {
    pub(super) secret: PlannedObject,
    /// The content of [`KEYS_FILE`].
    pub(super) file: Vec<u8>,
    pub(super) keys: SigningKeys,
    /// The changes of the keys, for Events.
    pub(super) changes: Vec<KeyChange>,
    /// The last value of [`ROTATE_ANNOTATION`] that was acted on.
    pub(super) rotated_for: Option<String>,
    /// When the next change is due.
    pub(super) next_change: Option<Timestamp>,
}

/// Plans the Secret with the keys.
pub(super) fn plan(inputs: &Inputs<'_>, owner: &Owner<'_>, rng: &mut dyn CryptoRng) -> Result<PlannedKeys, PlanError> {
    let name = owner.named(SUFFIX);
    let observed = inputs.secrets.get(&name);
    if observed.is_some_and(|secret| !owner.owns(secret)) {
        return Err(PlanError::NameTaken { secret: name });
    }
    let held = observed.and_then(|secret| secret.data.as_ref()?.get(KEYS_FILE)).map(|file| file.0.as_slice());
    let UsableKeys { mut keys, whole, damaged } = UsableKeys::read(held.unwrap_or_default());
    let before = keys.clone();
    let (now, tokens) = (inputs.now, &owner.endpoint().spec.tokens);
    let request = rotation_request(&owner.endpoint().metadata);
    let acted_on = observed.and_then(|secret| secret.metadata.annotations.as_ref()?.get(ROTATE_ANNOTATION)).cloned();
    let asked = observed.is_some() && request.is_some() && request != acted_on;
    let signing = Schedule { asked, ..signing(tokens) }
        .advance(&mut keys.keys, now, || SigningKey::generate(now, rng).map_err(PlanError::SigningKey))?;
    let sealing = match (Schedule { asked: asked && signing.published, ..sealing(tokens) }).advance(
        &mut keys.sealing,
        now,
        || Ok::<_, Infallible>(SealingKey::generate(now, rng)),
    ) {
        Ok(step) => step,
        Err(never) => match never {},
    };
    let file = match held {
        Some(file) if whole && keys == before => file.to_vec(),
        _ => json(&keys)?.into_bytes(),
    };

    let changes = [
        (observed.is_none(), KeyChange::Created),
        (observed.is_some() && (damaged || signing.begun), KeyChange::Healed),
        (signing.published, KeyChange::Published),
        (signing.promoted, KeyChange::Rotated),
    ];
    let generated = [signing, sealing].iter().any(|step| step.begun || step.published);
    // A request during a rotation waits until the successor signs.
    let rotated_for = if signing.begun || signing.published { request.or(acted_on) } else { acted_on };
    let mut metadata = owner.metadata(name, Component::Credentials);
    if let Some(request) = &rotated_for {
        metadata.annotations.get_or_insert_default().insert(ROTATE_ANNOTATION.to_owned(), request.clone());
    }
    let secret = Secret {
        metadata,
        data: Some([(KEYS_FILE.to_owned(), ByteString(file.clone()))].into()),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    };
    Ok(PlannedKeys {
        secret: PlannedObject::credentials(&secret, observed, generated)?,
        file,
        keys,
        rotated_for,
        changes: changes.into_iter().filter_map(|(is_so, change)| is_so.then_some(change)).collect(),
        next_change: [signing.next, sealing.next].into_iter().flatten().min(),
    })
}

fn signing(tokens: &Tokens) -> Schedule {
    let keep = tokens.access_lifetime.as_duration().max(LONGEST_ACCESS).saturating_add(MARGIN);
    Schedule { interval: tokens.key_rotation.as_duration(), keep, keep_at_most: keep, most: 3, asked: false }
}

/// The schedule of sealing keys. Refresh tokens that were sealed with a key can be used until the grant expires.
fn sealing(tokens: &Tokens) -> Schedule {
    let keep = tokens.refresh_lifetime.as_duration().saturating_add(MARGIN);
    let keep_at_most = keep.max(LONGEST_REFRESH.saturating_add(MARGIN));
    Schedule { interval: tokens.key_rotation.as_duration(), keep, keep_at_most, most: 64, asked: false }
}

/// The usable keys in a file.
struct UsableKeys {
    keys: SigningKeys,
    /// Whether the file contains nothing else.
    whole: bool,
    /// Whether the file contains an unusable key. A missing kind of keys, from an older version, is not damage.
    damaged: bool,
}

impl UsableKeys {
    fn read(file: &[u8]) -> Self {
        let content: Value = serde_json::from_slice(file).unwrap_or_default();
        let mut kids = BTreeSet::new();
        let (keys, bad_keys) =
            usable(content.get("keys"), |key: &SigningKey| key.is_usable() && kids.insert(key.kid.clone()));
        let (sealing, bad_sealing) = usable(content.get("sealing"), |key: &SealingKey| key.bytes().is_ok());
        let keys = SigningKeys { keys, sealing };
        let whole = serde_json::from_slice::<SigningKeys>(file).is_ok_and(|all| all == keys);
        Self { keys, whole, damaged: bad_keys || bad_sealing }
    }
}

/// The usable keys of a list, and whether any key is unusable.
fn usable<K: DeserializeOwned>(list: Option<&Value>, mut check: impl FnMut(&K) -> bool) -> (Vec<K>, bool) {
    let listed = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let good: Vec<K> =
        listed.iter().filter_map(|key| serde_json::from_value(key.clone()).ok()).filter(|key| check(key)).collect();
    let bad = list.is_some_and(|list| !list.is_array()) || good.len() < listed.len();
    (good, bad)
}
