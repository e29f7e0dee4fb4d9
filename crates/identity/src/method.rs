//! One login: how its users authenticate, and their ids.

use crate::{
    LoginInfo, LoginKind, MAX_NAME, UnusableLogin,
    evidence::{self, FingerprintKeys},
    github::GitHub,
    oidc::Oidc,
    passwords::Users,
};
use portcullis_config::{KeyError, LoginSecret, LoginSecrets, SigningKeys};
use portcullis_core::{
    grant::{GrantUser, LoginEvidence},
    login::Login,
};
use portcullis_oauth::UserStatus;
use portcullis_outbound::Outbound;
use std::collections::{BTreeMap, BTreeSet};

/// One login.
pub(crate) struct LoginMethod {
    pub(crate) login: Login,
    pub(crate) secret: LoginSecret,
    /// The groups that make a user an administrator.
    pub(crate) administrator_groups: Vec<String>,
    pub(crate) title: String,
    pub(crate) kind: Kind,
}

pub(crate) enum Kind {
    Passwords {
        users: Users,
        /// By user name: the fingerprints of the password hash, one for each key.
        fingerprints: BTreeMap<String, Vec<String>>,
        /// By group: its members.
        groups: BTreeMap<String, BTreeSet<String>>,
    },
    GitHub(GitHub),
    Oidc(Box<Oidc>),
}

impl LoginMethod {
    /// `None` if login and secret are of different kinds, which the plan never produces.
    pub(crate) fn new(
        login: &Login,
        secret: &LoginSecret,
        administrator_groups: Vec<String>,
        secrets: &LoginSecrets,
        keys: &SigningKeys,
        outbound: &Outbound,
    ) -> Result<Option<Self>, UnusableLogin> {
        let title = |otherwise: &str| login.display_name.clone().unwrap_or_else(|| otherwise.to_owned());
        let (title, kind) = match (login, secret) {
            (Login { passwords: Some(_), .. }, LoginSecret::Passwords(users)) => {
                let keys = FingerprintKeys::new(keys)?;
                let of = |(name, hash): (&String, &String)| Ok((name.clone(), keys.of(&login.name, name, hash)?));
                let groups = secrets.groups.get(&login.name).cloned().unwrap_or_default();
                let fingerprints = users.iter().map(of).collect::<Result<_, KeyError>>()?;
                (title(&login.name), Kind::Passwords { users: Users::new(users.clone()), fingerprints, groups })
            }
            (Login { github: Some(github), .. }, LoginSecret::Client { client_id, client_secret }) => {
                let title = title("GitHub");
                let client = outbound.trusted(github.ca_bundle.as_deref())?;
                (
                    title.clone(),
                    Kind::GitHub(GitHub::new(title, github, &administrator_groups, client_id, client_secret, client)),
                )
            }
            (Login { oidc: Some(oidc), .. }, LoginSecret::Client { client_id, client_secret }) => {
                let title = title(&login.name);
                let client = outbound.trusted(oidc.ca_bundle.as_deref())?;
                (
                    title.clone(),
                    Kind::Oidc(Box::new(Oidc::new(
                        title,
                        oidc,
                        &administrator_groups,
                        client_id,
                        client_secret,
                        client,
                    ))),
                )
            }
            _ => return Ok(None),
        };
        Ok(Some(Self { login: login.clone(), secret: secret.clone(), administrator_groups, title, kind }))
    }

    pub(crate) fn status_of(&self, user: &str, evidence: Option<&LoginEvidence>) -> UserStatus {
        match &self.kind {
            Kind::Passwords { fingerprints, .. } => {
                fingerprints.get(user).map_or(UserStatus::Missing, |known| evidence::password(known, evidence))
            }
            Kind::GitHub(github) => github.status_of(evidence),
            Kind::Oidc(oidc) => oidc.status_of(evidence),
        }
    }

    pub(crate) fn info(&self) -> LoginInfo {
        LoginInfo { name: self.login.name.clone(), title: self.title.clone(), kind: self.kind() }
    }

    pub(crate) fn kind(&self) -> LoginKind {
        match self.kind {
            Kind::Passwords { .. } => LoginKind::Password,
            Kind::GitHub(_) | Kind::Oidc(_) => LoginKind::Redirect,
        }
    }

    /// The user, as grants and tokens record it.
    pub(crate) fn user(&self, id: &str, name: &str) -> GrantUser {
        let name: String = name.chars().filter(|letter| !letter.is_control()).take(MAX_NAME).collect();
        let name = if name.trim().is_empty() { id.to_owned() } else { name };
        GrantUser { id: self.user_id(id), name }
    }

    pub(crate) fn user_id(&self, id: &str) -> String {
        format!("{}:{id}", self.login.name)
    }

    /// The provider, and the endpoint's client id there; `None` for local users.
    pub(crate) fn party(&self) -> Option<(&str, &str)> {
        match &self.kind {
            Kind::Passwords { .. } => None,
            Kind::GitHub(github) => Some(github.party()),
            Kind::Oidc(oidc) => Some(oidc.party()),
        }
    }
}
