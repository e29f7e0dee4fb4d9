//! The local user: if the manifest has no `login`, `portcullis dev` adds one with a single user and a generated
//! password.
//!
//! Name and password are in the state directory, where the user can read them, and can replace the password.

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use portcullis_api::McpEndpoint;
use portcullis_core::login::{Login, Passwords, PasswordsSecret};
use portcullis_plan::ENDPOINT_LABEL;
use rand::{Rng as _, rngs::StdRng};
use std::collections::BTreeMap;

/// The name of the login, which is a part of the user's id in grants and logs.
const LOGIN: &str = "local";
const USERNAME: &str = "username";
/// The key of the password, which is also its file name.
pub(super) const PASSWORD: &str = "password";
const HTPASSWD: &str = "htpasswd";
/// The minimum cost of bcrypt. The password is stored next to its hash, so a slow hash would not protect it.
const COST: u32 = 4;
/// The 32 characters of passwords, five bits each, without similar letters and digits.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// The user who can sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LocalUser {
    /// The user name.
    pub name: String,
    /// The name of the Secret with the password.
    pub secret_name: String,
}

/// A password could not be hashed.
#[derive(Debug, thiserror::Error)]
#[error(
    "the password of the local user could not be hashed; delete the file {PASSWORD} in the folder of Secret {secret:?}"
)]
pub struct LocalUserError {
    secret: String,
    source: bcrypt::BcryptError,
}

/// The name of the system's user; `dev` if that is not a valid user name.
pub(super) fn name_of(system_user: &std::ffi::OsStr) -> String {
    let usable = |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    system_user.to_str().filter(usable).unwrap_or("dev").to_owned()
}

/// Whether the endpoint needs a local user: it has no login, and issues tokens.
pub(super) fn is_needed(endpoint: &McpEndpoint) -> bool {
    endpoint.spec.login.is_empty() && endpoint.spec.external_issuer.is_none()
}

/// The login to add to the endpoint.
pub(super) fn login(secret_name: &str) -> Login {
    Login {
        display_name: Some("This machine".to_owned()),
        passwords: Some(Passwords {
            secret_ref: PasswordsSecret { name: secret_name.to_owned(), key: HTPASSWD.to_owned() },
        }),
        ..Login::named(LOGIN)
    }
}

/// The name of the Secret of an endpoint's local user.
pub(super) fn secret_name(endpoint: &str) -> String {
    format!("{endpoint}-local-user")
}

/// The desired Secret: the observed values, and generated ones in place of missing values. An existing password is
/// kept, and its hash if it matches.
pub(super) fn secret(
    endpoint: &str,
    user: &str,
    observed: Option<&Secret>,
    rng: &mut StdRng,
) -> Result<Secret, LocalUserError> {
    let name = secret_name(endpoint);
    let text = |key: &str| {
        let value = observed?.data.as_ref()?.get(key)?;
        std::str::from_utf8(&value.0).ok().map(str::trim).filter(|text| !text.is_empty()).map(ToOwned::to_owned)
    };
    let password = text(PASSWORD).unwrap_or_else(|| random_password(rng));
    let fits = |line: &String| {
        line.split_once(':')
            .is_some_and(|(name, hash)| name == user && bcrypt::verify(&password, hash).unwrap_or(false))
    };
    let line = if let Some(line) = text(HTPASSWD).filter(fits) {
        line
    } else {
        let hashed = bcrypt::hash_with_salt(&password, COST, salt(rng));
        let hashed = hashed.map_err(|source| LocalUserError { secret: name.clone(), source })?;
        format!("{user}:{hashed}")
    };
    let data = [(USERNAME, user), (PASSWORD, &password), (HTPASSWD, &line)];
    Ok(Secret {
        metadata: ObjectMeta {
            labels: Some(BTreeMap::from([(ENDPOINT_LABEL.to_owned(), endpoint.to_owned())])),
            name: Some(name),
            ..ObjectMeta::default()
        },
        data: Some(data.map(|(key, text)| (key.to_owned(), ByteString(format!("{text}\n").into_bytes()))).into()),
        ..Secret::default()
    })
}

/// A password of 20 characters in groups of five, with 100 random bits.
fn random_password(rng: &mut StdRng) -> String {
    let mut bytes = [0; 20];
    rng.fill_bytes(&mut bytes);
    let letters = bytes.map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    letters.chunks(5).map(String::from_iter).collect::<Vec<_>>().join("-")
}

fn salt(rng: &mut StdRng) -> [u8; 16] {
    let mut salt = [0; 16];
    rng.fill_bytes(&mut salt);
    salt
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use std::ffi::OsStr;

    fn made(observed: Option<&Secret>, user: &str, seed: u64) -> Secret {
        secret("agents", user, observed, &mut StdRng::seed_from_u64(seed)).unwrap()
    }

    fn password(secret: &Secret) -> &str {
        text(secret, PASSWORD)
    }

    fn text<'a>(secret: &'a Secret, key: &str) -> &'a str {
        std::str::from_utf8(&secret.data.as_ref().unwrap()[key].0).unwrap().trim()
    }

    #[test]
    fn a_password_is_made_once_and_kept() {
        let first = made(None, "ada", 1);
        let words = password(&first);
        assert!(words.len() == 23 && words.split('-').all(|group| group.len() == 5), "{words}");
        let (name, hash) = text(&first, HTPASSWD).split_once(':').unwrap();
        assert!(name == "ada" && bcrypt::verify(words, hash).unwrap(), "{hash}");
        assert_eq!(made(Some(&first), "ada", 2), first);
        assert_ne!(made(None, "ada", 2), first);
    }

    #[test]
    fn what_a_person_changes_there_counts() {
        let mut kept = made(None, "ada", 1);
        let mut put = |key: &str, text: &str| {
            kept.data.as_mut().unwrap().insert(key.to_owned(), ByteString(text.as_bytes().to_vec()));
            kept.clone()
        };
        let chosen = made(Some(&put(PASSWORD, "open sesame\n")), "ada", 2);
        assert_eq!(password(&chosen), "open sesame");
        let (_, hash) = text(&chosen, HTPASSWD).split_once(':').unwrap();
        assert!(bcrypt::verify("open sesame", hash).unwrap());

        let emptied = made(Some(&put(PASSWORD, "")), "ada", 3);
        assert_ne!(password(&emptied), "open sesame");
        assert!(text(&made(Some(&emptied), "grace", 4), HTPASSWD).starts_with("grace:"));
    }

    #[test]
    fn the_systems_user_is_the_user_where_the_name_fits() {
        for (system, name) in [("ada", "ada"), ("", "dev"), ("a b", "dev"), ("a:b", "dev"), ("j.doe-1", "j.doe-1")] {
            assert_eq!(name_of(OsStr::new(system)), name);
        }
    }
}
