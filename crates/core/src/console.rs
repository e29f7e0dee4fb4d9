//! `spec.console` of an endpoint: who administers it in the console.

use crate::schema::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The pages for people who have signed in.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Console {
    /// Who sees all users, agents and workspaces of the endpoint in the console, and can end a user's access. Empty:
    /// there are none.
    #[serde(default, skip_serializing_if = "Administrators::is_empty")]
    pub administrators: Administrators,
}

impl Console {
    /// Whether everything has its default.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The administrators of an endpoint, always with the name of a login of the endpoint.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Administrators {
    /// Users: `LOGIN:ID`, such as `local:ada`. `kubectl get oag -o wide` shows the ids of users. Compared exactly.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 3, max = 512)))]
    #[schemars(extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [Rule::new("self.all(u, u.matches('^[a-z]([a-z0-9-]*[a-z0-9])?:.+$'))", "each must be LOGIN:ID, the name of a login of the endpoint and the user's id there, such as local:ada; kubectl get oag -o wide shows the ids of users")]))]
    pub users: Vec<String>,
    /// Members of these groups: `LOGIN:GROUP`. For a login with passwords, a group of the key `groups` of its Secret; for
    /// `oidc`, a group of `groupsClaim`; for `github`, an organization or `organization/team`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 3, max = 289)))]
    #[schemars(extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [Rule::new("self.all(g, g.matches('^[a-z]([a-z0-9-]*[a-z0-9])?:.+$'))", "each must be LOGIN:GROUP, the name of a login of the endpoint and a group there, such as sso:platform")]))]
    pub groups: Vec<String>,
}

impl Administrators {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    /// Whether this user is named.
    #[must_use]
    pub fn names(&self, user_id: &str) -> bool {
        self.users.iter().any(|user| user == user_id)
    }

    /// The groups of one login, without its name.
    pub fn groups_of<'a>(&'a self, login: &'a str) -> impl Iterator<Item = &'a str> {
        let groups = self.groups.iter().filter_map(|group| group.split_once(':'));
        groups.filter(move |(of, _)| *of == login).map(|(_, group)| group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_belong_to_their_login() {
        let groups = ["local:ops", "sso:a:b", "local-2:ops", "hub:acme/ops"].map(str::to_owned).to_vec();
        let administrators = Administrators { users: vec!["local:ada".to_owned()], groups };
        for (login, groups) in
            [("local", &["ops"][..]), ("sso", &["a:b"]), ("hub", &["acme/ops"]), ("loca", &[]), ("", &[])]
        {
            assert_eq!(administrators.groups_of(login).collect::<Vec<_>>(), groups, "{login}");
        }
        assert!(administrators.names("local:ada"));
        for other in ["local:Ada", "local:ad", "sso:ada", "ada", ""] {
            assert!(!administrators.names(other), "{other}");
        }
    }
}
