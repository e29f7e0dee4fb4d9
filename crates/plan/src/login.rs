//! The Secret of the logins, collected from the Secrets that `spec.login` names.

use crate::{
    Inputs,
    metadata::{Component, Owner},
};
use argon2::{Params, PasswordHash};
use bcrypt::HashParts;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use portcullis_config::{LOGIN_FILE, LoginSecret, LoginSecrets};
use portcullis_core::login::{ClientSecretRef, Login, PasswordsSecret};
use std::collections::{BTreeMap, BTreeSet};

/// The suffix of the Secret's name.
pub(super) const SUFFIX: &str = "login";

/// Why a login cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginProblem {
    /// Its Secret does not exist, or lacks the label.
    #[error(
        "login {login:?}: Secret {secret:?} was not found with the label portcullis.dev/endpoint={endpoint}; create it, or add the label to it"
    )]
    SecretNotFound {
        /// The login's name.
        login: String,
        /// The Secret's name.
        secret: String,
        /// The endpoint's name.
        endpoint: String,
    },
    /// Its Secret lacks a key, or the value is empty.
    #[error("login {login:?}: Secret {secret:?} has no text under the key {key:?}; add it")]
    KeyMissing {
        /// The login's name.
        login: String,
        /// The Secret's name.
        secret: String,
        /// The key.
        key: String,
    },
    /// A line of an htpasswd file is malformed. The message never quotes the line.
    #[error(
        "login {login:?}: line {line} of the users in Secret {secret:?} is not name:hash with a bcrypt or argon2 hash; make it with `htpasswd -nB NAME`"
    )]
    UserMalformed {
        /// The login's name.
        login: String,
        /// The Secret's name.
        secret: String,
        /// The line's number, from 1.
        line: usize,
    },
    /// A hash is too costly: a sign-in would exhaust a server.
    #[error(
        "login {login:?}: the hash in line {line} of the users in Secret {secret:?} is too costly to check; at most bcrypt of cost {MAX_BCRYPT_COST}, or argon2 with m={MAX_ARGON2_MEMORY} and t={MAX_ARGON2_PASSES}"
    )]
    UserTooCostly {
        /// The login's name.
        login: String,
        /// The Secret's name.
        secret: String,
        /// The line's number, from 1.
        line: usize,
    },
    /// `console.administrators` names a group of local users, and their Secret has no groups.
    #[error(
        "console.administrators names the group {login}:{group}, but Secret {secret:?} has no text under the key {GROUPS_KEY:?}; add it, with a line such as `{group}: NAME NAME`"
    )]
    GroupsMissing {
        /// The login's name.
        login: String,
        /// The first group.
        group: String,
        /// The Secret's name.
        secret: String,
    },
    /// A line of the groups is malformed. The message never quotes the line.
    #[error(
        "login {login:?}: line {line} of the groups in Secret {secret:?} is not a group, a colon and names of users; write it as `ops: ada bob`"
    )]
    GroupMalformed {
        /// The login's name.
        login: String,
        /// The Secret's name.
        secret: String,
        /// The line's number, from 1.
        line: usize,
    },
}

/// The key with the groups of local users, in a Secret with an htpasswd file.
const GROUPS_KEY: &str = "groups";

/// The maximum cost of a bcrypt hash: about one second on a slow processor.
const MAX_BCRYPT_COST: u32 = 14;
/// In KiB: half of a server's default memory.
const MAX_ARGON2_MEMORY: u32 = 64 * 1024;
const MAX_ARGON2_PASSES: u32 = 10;

/// Whether the cost of a hash is acceptable; `None` if it is not a bcrypt or argon2 hash.
fn bearable(hash: &str) -> Option<bool> {
    if hash.starts_with("$argon2") {
        let hash = PasswordHash::new(hash).ok().filter(|hash| hash.hash.is_some())?;
        let params = Params::try_from(&hash).ok()?;
        return Some(params.m_cost() <= MAX_ARGON2_MEMORY && params.t_cost() <= MAX_ARGON2_PASSES);
    }
    let parts: HashParts =
        ["$2a$", "$2b$", "$2y$"].iter().any(|kind| hash.starts_with(kind)).then(|| hash.parse().ok())??;
    Some(parts.get_cost() <= MAX_BCRYPT_COST)
}

/// The result for all logins.
#[derive(Default)]
pub(super) struct PlannedLogins {
    pub(super) secrets: LoginSecrets,
    pub(super) problems: Vec<LoginProblem>,
}

/// Collects the usable logins, and the problems of the others.
pub(super) fn plan(inputs: &Inputs<'_>) -> PlannedLogins {
    let mut planned = PlannedLogins::default();
    for login in &inputs.endpoint.spec.login {
        let gathered = match login {
            Login { passwords: Some(passwords), .. } => {
                let users = users(inputs, login, &passwords.secret_ref, &mut planned.problems);
                if users.is_ok() {
                    let groups = groups(inputs, login, &passwords.secret_ref, &mut planned.problems);
                    planned.secrets.groups.extend((!groups.is_empty()).then(|| (login.name.clone(), groups)));
                }
                users
            }
            Login { github: Some(github), .. } => client(inputs, login, &github.client_secret_ref),
            Login { oidc: Some(oidc), .. } => client(inputs, login, &oidc.client_secret_ref),
            // Admission rejects such a login.
            Login { passwords: None, github: None, oidc: None, .. } => continue,
        };
        match gathered {
            Ok(secret) => drop(planned.secrets.logins.insert(login.name.clone(), secret)),
            Err(problem) => planned.problems.push(problem),
        }
    }
    planned
}

/// The Secret that servers mount.
pub(super) fn secret(owner: &Owner<'_>, file: &str) -> Secret {
    Secret {
        metadata: owner.metadata(owner.named(SUFFIX), Component::Credentials),
        data: Some([(LOGIN_FILE.to_owned(), ByteString(file.as_bytes().to_vec()))].into()),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

fn client(inputs: &Inputs<'_>, login: &Login, reference: &ClientSecretRef) -> Result<LoginSecret, LoginProblem> {
    Ok(LoginSecret::Client {
        client_id: text(inputs, login, &reference.name, "client-id")?.trim().to_owned(),
        client_secret: text(inputs, login, &reference.name, "client-secret")?.trim().to_owned(),
    })
}

fn users(
    inputs: &Inputs<'_>,
    login: &Login,
    reference: &PasswordsSecret,
    problems: &mut Vec<LoginProblem>,
) -> Result<LoginSecret, LoginProblem> {
    let file = text(inputs, login, &reference.name, &reference.key)?;
    let mut users = BTreeMap::new();
    for (index, line) in file.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (login, secret, line_number) = (login.name.clone(), reference.name.clone(), index + 1);
        let user = line.split_once(':').filter(|(name, _)| !name.is_empty());
        match user.and_then(|(name, hash)| Some((name, hash, bearable(hash)?))) {
            Some((name, hash, true)) => drop(users.insert(name.to_owned(), hash.to_owned())),
            Some((_, _, false)) => {
                problems.push(LoginProblem::UserTooCostly { login, secret, line: line_number });
            }
            None => problems.push(LoginProblem::UserMalformed { login, secret, line: line_number }),
        }
    }
    Ok(LoginSecret::Passwords(users))
}

/// The members of the groups that make a local user an administrator. Servers do not learn of other groups.
fn groups(
    inputs: &Inputs<'_>,
    login: &Login,
    reference: &PasswordsSecret,
    problems: &mut Vec<LoginProblem>,
) -> BTreeMap<String, BTreeSet<String>> {
    let wanted: BTreeSet<&str> = inputs.endpoint.spec.console.administrators.groups_of(&login.name).collect();
    let Some(first) = wanted.first() else { return BTreeMap::new() };
    let (login_name, secret) = (login.name.clone(), reference.name.clone());
    let Ok(file) = text(inputs, login, &reference.name, GROUPS_KEY) else {
        problems.push(LoginProblem::GroupsMissing { login: login_name, group: (*first).to_owned(), secret });
        return BTreeMap::new();
    };
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (index, line) in file.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line
            .split_once(':')
            .map(|(group, members)| (group.trim(), members))
            .filter(|(group, _)| !group.is_empty())
        {
            Some((group, members)) if wanted.contains(group) => {
                let members = members.split_whitespace().map(ToOwned::to_owned);
                groups.entry(group.to_owned()).or_default().extend(members);
            }
            Some(_) => {}
            None => {
                let (login, secret) = (login_name.clone(), secret.clone());
                problems.push(LoginProblem::GroupMalformed { login, secret, line: index + 1 });
            }
        }
    }
    groups
}

fn text<'a>(inputs: &Inputs<'a>, login: &Login, secret: &str, key: &str) -> Result<&'a str, LoginProblem> {
    let found = inputs.secrets.get(secret).ok_or_else(|| LoginProblem::SecretNotFound {
        login: login.name.clone(),
        secret: secret.to_owned(),
        endpoint: inputs.endpoint.metadata.name.clone().unwrap_or_default(),
    })?;
    found
        .data
        .as_ref()
        .and_then(|data| data.get(key))
        .and_then(|value| std::str::from_utf8(&value.0).ok())
        .filter(|text| !text.trim().is_empty())
        .ok_or_else(|| LoginProblem::KeyMissing {
            login: login.name.clone(),
            secret: secret.to_owned(),
            key: key.to_owned(),
        })
}
