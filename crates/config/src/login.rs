//! `login.json`: the secrets of logins.

use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// The secrets for `login` in `config.json`, by the name of the login. A login without an entry cannot be used yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoginSecrets {
    /// By the name of the login.
    pub logins: BTreeMap<String, LoginSecret>,
    /// The members of groups of local users: login → group → names. Only the groups that make their members administrators.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

/// The secret of one login.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum LoginSecret {
    /// Local users: name → hash of the password, as in an htpasswd file (bcrypt `$2…`, or argon2 `$argon2…`).
    Passwords(BTreeMap<String, String>),
    /// The client credentials of this endpoint at a provider.
    #[serde(rename_all = "camelCase")]
    Client {
        /// The client id.
        client_id: String,
        /// The client secret.
        client_secret: String,
    },
}

impl fmt::Debug for LoginSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passwords(users) => f.debug_tuple("Passwords").field(&users.keys()).finish(),
            Self::Client { client_id, .. } => {
                f.debug_struct("Client").field("client_id", client_id).finish_non_exhaustive()
            }
        }
    }
}
