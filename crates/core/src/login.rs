//! `spec.login` of an endpoint: the logins, from which a user can choose.

use crate::{
    quantity::Span,
    schema::{self, Rule},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A method to sign in: exactly one of `passwords`, `github` and `oidc`.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[schemars(extend("x-kubernetes-validations" = [Rule::new("[has(self.passwords), has(self.github), has(self.oidc)].filter(p, p).size() == 1", "must have exactly one of passwords, github and oidc"), Rule::new("!has(self.passwords) || (!has(self.recheckAfter) && !has(self.maxGrantAge))", "recheckAfter and maxGrantAge are for github and oidc: local users are looked up at every use")]))]
#[serde(rename_all = "camelCase")]
pub struct Login {
    /// The name of the login in URLs, logs and user ids. After a rename, the same people are different users.
    #[schemars(length(min = 1, max = 32))]
    #[schemars(extend("x-kubernetes-validations" = [Rule::new("self.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$') && self != 'client' && self != 'workload'", "must be made of a-z, 0-9 and -, beginning with a letter; client and workload are taken")]))]
    pub name: String,
    /// The name on the sign-in page. Default: `GitHub`, or `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub display_name: Option<String>,
    /// Users and passwords in a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passwords: Option<Passwords>,
    /// Accounts of GitHub, or of a GitHub Enterprise Server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github: Option<GitHub>,
    /// Accounts of an OpenID Connect provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<Oidc>,
    /// The maximum age of a sign-in when the user consents to an agent: 1 minute to 12 hours, default `1h`. After that,
    /// the user signs in again.
    #[serde(
        default = "Login::default_reauthenticate_after",
        skip_serializing_if = "Login::is_default_reauthenticate_after"
    )]
    #[schemars(extend("x-kubernetes-validations" = [Span::rule("1m", "12h")]))]
    pub reauthenticate_after: Span,
    /// The age of a provider's answer about a user after which the next refresh of a grant asks the provider again:
    /// `1m` to `720h`, default `24h`. For `github` and `oidc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [Span::rule("1m", "720h")]))]
    pub recheck_after: Option<Span>,
    /// How long grants are valid after the user's last sign-in if the provider cannot be asked again: `1m` to `8760h`,
    /// default `168h`. For `github` and `oidc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [Span::rule("1m", "8760h")]))]
    pub max_grant_age: Option<Span>,
}

impl Login {
    /// A login with all defaults, without a method yet.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            display_name: None,
            passwords: None,
            github: None,
            oidc: None,
            reauthenticate_after: Self::default_reauthenticate_after(),
            recheck_after: None,
            max_grant_age: None,
        }
    }
    /// `recheckAfter`; 24 hours by default.
    #[must_use]
    pub fn rechecked_after(&self) -> Span {
        self.recheck_after.unwrap_or_else(|| Span::from_secs(24 * 3600))
    }
    /// `maxGrantAge`; 7 days by default.
    #[must_use]
    pub fn oldest_grant(&self) -> Span {
        self.max_grant_age.unwrap_or_else(|| Span::from_secs(7 * 24 * 3600))
    }
    fn default_reauthenticate_after() -> Span {
        Span::from_secs(3600)
    }
    fn is_default_reauthenticate_after(span: &Span) -> bool {
        *span == Self::default_reauthenticate_after()
    }
}

/// Local users.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Passwords {
    /// The Secret with lines of `name:hash`, as written by `htpasswd -B`: bcrypt or argon2. Its key `groups` may have lines
    /// of `group: name name`, for `console.administrators`.
    pub secret_ref: PasswordsSecret,
}

/// A Secret with an htpasswd file. It must have the label `portcullis.dev/endpoint` with the endpoint's name.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PasswordsSecret {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    #[schemars(extend("x-kubernetes-validations" = [schema::object_name()]))]
    pub name: String,
    /// The key of the file in the Secret.
    #[serde(default = "PasswordsSecret::default_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

impl PasswordsSecret {
    fn default_key() -> String {
        "htpasswd".to_owned()
    }
}

/// The Secret with the endpoint's credentials at a provider: `client-id` and `client-secret`. It must have the label
/// `portcullis.dev/endpoint` with the endpoint's name.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSecretRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    #[schemars(extend("x-kubernetes-validations" = [schema::object_name()]))]
    pub name: String,
}

/// An OAuth app of GitHub. Its callback is the endpoint's issuer, `/login/`, the name of this login and `/callback`.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[schemars(extend("x-kubernetes-validations" = [Rule::new("self.allowedOrganizations.size() + self.allowedTeams.size() > 0", "allowedOrganizations or allowedTeams must name at least one, since anyone can have a GitHub account")]))]
#[serde(rename_all = "camelCase")]
pub struct GitHub {
    /// The URL of GitHub; any other than `https://github.com` is an Enterprise Server.
    #[serde(default = "GitHub::default_url")]
    #[schemars(length(max = 512))]
    #[schemars(extend("x-kubernetes-validations" = [schema::provider_url()]))]
    pub url: String,
    /// The Secret with the app's `client-id` and `client-secret`.
    pub client_secret_ref: ClientSecretRef,
    /// Members of any of these may sign in.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 39)))]
    #[schemars(extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [Rule::new("self.all(o, o.matches('^[A-Za-z0-9][A-Za-z0-9-]*$'))", "each must be the name of an organization, as in its URL")]))]
    pub allowed_organizations: Vec<String>,
    /// Members of any of these may sign in: `organization/team`, both as in the team's URL.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 3, max = 140)))]
    #[schemars(extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [Rule::new("self.all(t, t.matches('^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9_.-]+$'))", "each must be organization/team, both as in the team's URL")]))]
    pub allowed_teams: Vec<String>,
    /// Certificates (PEM) of a private CA that signs the Enterprise Server's certificate. Default: the public CAs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65_536))]
    #[schemars(extend("x-kubernetes-validations" = [schema::certificates()]))]
    pub ca_bundle: Option<String>,
}

impl GitHub {
    fn default_url() -> String {
        "https://github.com".to_owned()
    }
}

/// An OpenID Connect provider. The callback to register there is the endpoint's issuer, `/login/`, the name of this
/// login and `/callback`.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Oidc {
    /// The provider's issuer, exactly as in its discovery document.
    #[schemars(length(min = 1, max = 512))]
    #[schemars(extend("x-kubernetes-validations" = [schema::provider_url()]))]
    pub issuer_url: String,
    /// The Secret with the endpoint's `client-id` and `client-secret` at the provider.
    pub client_secret_ref: ClientSecretRef,
    /// The scopes to request in addition to `openid`.
    #[serde(default = "Oidc::default_scopes")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128)))]
    #[schemars(extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [Rule::new("self.all(s, s.matches('^[!#-Z^-~]+$'))", "each must be one word")]))]
    pub scopes: Vec<String>,
    /// Whether to request a token that remains valid after the session (`offline_access`, OpenID Connect Core §11). It
    /// is used to ask again whether the provider still lets the user in.
    #[serde(default, skip_serializing_if = "OfflineAccess::is_default")]
    pub offline_access: OfflineAccess,
    /// The claim with the display name of a user. Users are identified by `sub` in any case.
    #[serde(default = "Oidc::default_username_claim")]
    #[schemars(length(min = 1, max = 128))]
    pub username_claim: String,
    /// The claim that lists a user's groups.
    #[serde(default = "Oidc::default_groups_claim")]
    #[schemars(length(min = 1, max = 128))]
    pub groups_claim: String,
    /// Members of any of these groups may sign in. Empty: all users of the provider.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub allowed_groups: Vec<String>,
    /// Certificates (PEM) of a private CA that signs the provider's certificate. Default: the public CAs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65_536))]
    #[schemars(extend("x-kubernetes-validations" = [schema::certificates()]))]
    pub ca_bundle: Option<String>,
}

impl Oidc {
    fn default_scopes() -> Vec<String> {
        ["profile", "email"].map(str::to_owned).into()
    }
    fn default_username_claim() -> String {
        "preferred_username".to_owned()
    }
    fn default_groups_claim() -> String {
        "groups".to_owned()
    }
}

/// How `offline_access` is requested from a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OfflineAccess {
    /// Request it, unless the provider's metadata lists scopes without it.
    #[default]
    Request,
    /// Request it with `prompt=consent`, for providers that issue no such token otherwise. Some then show a page at
    /// every sign-in.
    RequestWithConsent,
    /// Do not request it: grants are valid for `maxGrantAge` after the user's last sign-in.
    Never,
}

impl OfflineAccess {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
