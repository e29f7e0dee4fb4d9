//! The evidence of a sign-in, and its comparison with the present rules of the login.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use portcullis_config::{KeyError, SigningKeys};
use portcullis_core::{
    grant::{LoginEvidence, RevocationReason},
    login,
};
use portcullis_oauth::UserStatus;
use sha2::Sha256;

/// The maximum total length of the names in each list, in bytes: sessions are cookies, whose size browsers limit. For a
/// user with more matching names, the first ones are kept; the user signs in again once none of those is allowed any
/// more.
const MAX_NAMES: usize = 512;

/// The same for groups that make an administrator, in a cookie beside the other lists.
const MAX_ADMINISTRATOR_NAMES: usize = 256;

/// The keys of password fingerprints, derived from the endpoint's sealing keys. The first key creates fingerprints, and
/// all keys verify them: a key rotation ends no session.
pub(super) struct FingerprintKeys(Vec<[u8; 32]>);

impl FingerprintKeys {
    pub(super) fn new(keys: &SigningKeys) -> Result<Self, KeyError> {
        let derive = |bytes: [u8; 32]| mac(&bytes, &[b"portcullis password fingerprint v1"]);
        let keys: Vec<_> = keys.sealing.iter().map(|key| derive(key.bytes()?)).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(KeyError::MissingSealing) } else { Ok(Self(keys)) }
    }

    /// The fingerprints of a user's password hash, one for each key. The first one is recorded as evidence.
    pub(super) fn of(&self, login: &str, user: &str, hash: &str) -> Result<Vec<String>, KeyError> {
        let lengths = [login.len() as u64, user.len() as u64].map(u64::to_be_bytes);
        let message = [&lengths[0][..], login.as_bytes(), &lengths[1], user.as_bytes(), hash.as_bytes()];
        self.0.iter().map(|key| Ok(URL_SAFE_NO_PAD.encode(mac(key, &message)?))).collect()
    }
}

fn mac(key: &[u8; 32], message: &[&[u8]]) -> Result<[u8; 32], KeyError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| KeyError::MalformedSealing)?;
    for part in message {
        mac.update(part);
    }
    Ok(mac.finalize().into_bytes().into())
}

/// The evidence for a local user with these fingerprints.
pub(super) fn of_password(fingerprints: &[String]) -> LoginEvidence {
    LoginEvidence { password_fingerprint: fingerprints.first().cloned(), ..LoginEvidence::default() }
}

/// Compares the evidence with the fingerprints of the user's present password hash.
pub(super) fn password(fingerprints: &[String], evidence: Option<&LoginEvidence>) -> UserStatus {
    match evidence.map(|evidence| &evidence.password_fingerprint) {
        None => UserStatus::Unproven,
        Some(Some(fingerprint)) if fingerprints.contains(fingerprint) => UserStatus::Valid,
        Some(_) => UserStatus::Ended(RevocationReason::PasswordChanged),
    }
}

/// Compares the evidence with the groups that are allowed at present.
pub(super) fn oidc(rule: &login::Oidc, evidence: Option<&LoginEvidence>) -> UserStatus {
    match evidence {
        None => UserStatus::Unproven,
        Some(_) if rule.allowed_groups.is_empty() => UserStatus::Valid,
        // At the sign-in, all groups were allowed, so none was recorded.
        Some(evidence) if evidence.groups.is_empty() => UserStatus::Unproven,
        Some(evidence) => matches(evidence.groups.iter().any(|group| rule.allowed_groups.contains(group))),
    }
}

/// Compares the evidence with the organizations and teams that are allowed at present.
pub(super) fn github(rule: &login::GitHub, evidence: Option<&LoginEvidence>) -> UserStatus {
    let has = |allowed: &[String], name: &String| allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
    evidence.map_or(UserStatus::Unproven, |evidence| {
        let mut organizations = evidence.organizations.iter();
        let mut teams = evidence.teams.iter();
        matches(
            organizations.any(|name| has(&rule.allowed_organizations, name))
                || teams.any(|name| has(&rule.allowed_teams, name)),
        )
    })
}

const fn matches(matches: bool) -> UserStatus {
    if matches { UserStatus::Valid } else { UserStatus::Ended(RevocationReason::NotAllowed) }
}

/// Whether one of the user's groups of administrators is still one of the `present` ones.
pub(super) fn is_in_any(
    present: &[String],
    evidence: Option<&LoginEvidence>,
    same: impl Fn(&str, &str) -> bool,
) -> bool {
    let mut groups = evidence.into_iter().flat_map(|evidence| &evidence.administrator_groups);
    groups.any(|group| present.iter().any(|present| same(present, group)))
}

/// The names to keep as evidence, within [`MAX_NAMES`].
pub(super) fn kept<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    kept_within(MAX_NAMES, names)
}

/// The groups of administrators to keep as evidence, within [`MAX_ADMINISTRATOR_NAMES`].
pub(super) fn kept_administrator_groups<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    kept_within(MAX_ADMINISTRATOR_NAMES, names)
}

fn kept_within<'a>(mut capacity: usize, names: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let fits = |name: &&String| {
        let left = capacity.checked_sub(name.len());
        capacity = left.unwrap_or(capacity);
        left.is_some()
    };
    names.into_iter().filter(fits).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use portcullis_config::SealingKey;
    use rand::{SeedableRng as _, rngs::StdRng};
    use serde_json::{Value, json};

    fn keys(seeds: &[u64]) -> FingerprintKeys {
        let key = |seed: &u64| SealingKey::generate(Timestamp::UNIX_EPOCH, &mut StdRng::seed_from_u64(*seed));
        FingerprintKeys::new(&SigningKeys { keys: Vec::new(), sealing: seeds.iter().map(key).collect() }).unwrap()
    }

    fn evidence(value: Value) -> Option<LoginEvidence> {
        serde_json::from_value(value).unwrap()
    }

    const CHANGED: UserStatus = UserStatus::Ended(RevocationReason::PasswordChanged);
    const NOT_ALLOWED: UserStatus = UserStatus::Ended(RevocationReason::NotAllowed);

    #[test]
    fn a_changed_password_ends_and_a_rotated_key_does_not() {
        let before = of_password(&keys(&[1]).of("local", "ada", "$2b$old").unwrap());
        assert!(!before.password_fingerprint.as_ref().unwrap().contains("old"));
        for (name, seeds, login, user, hash, status) in [
            ("the same", &[1][..], "local", "ada", "$2b$old", UserStatus::Valid),
            ("a new key in front", &[2, 1], "local", "ada", "$2b$old", UserStatus::Valid),
            ("two rotations later", &[3, 2, 1], "local", "ada", "$2b$old", UserStatus::Valid),
            ("another hash", &[1], "local", "ada", "$2b$new", CHANGED),
            ("another user with the hash", &[1], "local", "bob", "$2b$old", CHANGED),
            ("another login", &[1], "loca", "lada", "$2b$old", CHANGED),
            ("keys of another endpoint", &[9], "local", "ada", "$2b$old", CHANGED),
        ] {
            let present = keys(seeds).of(login, user, hash).unwrap();
            assert_eq!(password(&present, Some(&before)), status, "{name}");
        }
        let present = keys(&[1]).of("local", "ada", "$2b$old").unwrap();
        assert_eq!(password(&present, None), UserStatus::Unproven, "from an older version");
        assert_eq!(password(&present, Some(&LoginEvidence::default())), CHANGED, "evidence of another kind");
    }

    #[test]
    fn narrowed_groups_end_only_those_who_no_longer_match() {
        for (allowed, had, status) in [
            (json!([]), json!({}), UserStatus::Valid),
            (json!([]), json!({"groups": ["a"]}), UserStatus::Valid),
            (json!(["a"]), json!({"groups": ["a"]}), UserStatus::Valid),
            (json!(["a", "b"]), json!({"groups": ["a"]}), UserStatus::Valid),
            (json!(["b"]), json!({"groups": ["a", "b"]}), UserStatus::Valid),
            (json!(["b"]), json!({"groups": ["a"]}), NOT_ALLOWED),
            (json!(["A"]), json!({"groups": ["a"]}), NOT_ALLOWED),
            (json!(["a"]), json!({}), UserStatus::Unproven),
            (json!(["a"]), Value::Null, UserStatus::Unproven),
            (json!([]), Value::Null, UserStatus::Unproven),
        ] {
            let rule = json!({"issuerUrl": "https://idp", "clientSecretRef": {"name": "s"}, "allowedGroups": allowed});
            let rule: login::Oidc = serde_json::from_value(rule).unwrap();
            assert_eq!(oidc(&rule, evidence(had.clone()).as_ref()), status, "{allowed} {had}");
        }
    }

    #[test]
    fn narrowed_organizations_and_teams_end_only_those_who_no_longer_match() {
        let had = json!({"organizations": ["acme"], "teams": ["acme/ops", "other/dev"]});
        for (organizations, teams, had, status) in [
            (json!(["acme", "other"]), json!([]), had.clone(), UserStatus::Valid),
            (json!(["ACME"]), json!([]), had.clone(), UserStatus::Valid),
            (json!(["other"]), json!(["other/dev"]), had.clone(), UserStatus::Valid),
            (json!([]), json!(["Acme/Ops"]), had.clone(), UserStatus::Valid),
            (json!(["other"]), json!(["acme/dev"]), had, NOT_ALLOWED),
            (json!(["acme/ops"]), json!(["acme"]), json!({"teams": ["x/y"]}), NOT_ALLOWED),
            (json!(["acme"]), json!([]), json!({}), NOT_ALLOWED),
            (json!(["acme"]), json!([]), Value::Null, UserStatus::Unproven),
        ] {
            let rule =
                json!({"clientSecretRef": {"name": "s"}, "allowedOrganizations": organizations, "allowedTeams": teams});
            let rule: login::GitHub = serde_json::from_value(rule).unwrap();
            assert_eq!(github(&rule, evidence(had.clone()).as_ref()), status, "{organizations} {teams} {had}");
        }
    }

    #[test]
    fn kept_names_fit_into_a_cookie() {
        let names: Vec<String> = (0..64).map(|n| format!("{n:0200}")).chain(["short".to_owned()]).collect();
        let kept = kept(&names);
        assert_eq!(kept.last().unwrap(), "short");
        assert!(kept.iter().map(String::len).sum::<usize>() <= MAX_NAMES);
        let kept = kept_administrator_groups(&names);
        assert_eq!(kept, [&*names[0], "short"]);
    }
}
