//! Clients and issuers of an endpoint besides its `OAuthClient`s: clients that describe or register themselves, pods of
//! the cluster, and an external authorization server.

use crate::{
    quantity::Span,
    schema::{self, Rule},
    scope::Scope,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Clients that nobody made an `OAuthClient` for.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientPolicy {
    /// Clients whose id is the URL of a document that describes them (OAuth Client ID Metadata Documents). Omitted: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_documents: Option<MetadataDocuments>,
    /// Clients that register themselves (RFC 7591). Omitted: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic_registration: Option<DynamicRegistration>,
}

/// Which client metadata documents are fetched.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetadataDocuments {
    /// Hosts that documents may come from, such as `claude.ai`, exactly; no addresses and no wildcards.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)))]
    #[schemars(extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [Rule::new("self.all(h, h.matches('^([a-z0-9]([a-z0-9-]*[a-z0-9])?[.])+[a-z][a-z0-9-]*[a-z0-9]$'))", "each must be the full name of a host in lower case, such as claude.ai; no address, port, wildcard or path")]))]
    pub allowed_hosts: Vec<String>,
    /// The most that tokens of such clients may be good for; omitted: everything. The user decides each time.
    #[serde(default = "every_scope")]
    #[schemars(length(min = 1, max = 6))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub scopes: Vec<Scope>,
}

impl MetadataDocuments {
    /// In `allowedHosts`: every public host. Admission refuses it; only `portcullis dev` sets it, on a loopback address.
    pub const ANY_HOST: &str = "*";

    /// Documents of every public host, with every scope.
    #[must_use]
    pub fn of_any_host() -> Self {
        Self { allowed_hosts: vec![Self::ANY_HOST.to_owned()], scopes: every_scope() }
    }

    /// Whether documents may come from this host.
    #[must_use]
    pub fn allows(&self, host: &str) -> bool {
        self.allowed_hosts.iter().any(|allowed| allowed == host || allowed == Self::ANY_HOST)
    }
}

/// How clients may register themselves. Each one becomes an `OAuthClient`.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DynamicRegistration {
    /// How long a registration lasts: 1 hour to 1 year.
    #[serde(default = "DynamicRegistration::default_lifetime")]
    #[schemars(extend("x-kubernetes-validations" = [Span::rule("1h", "8760h")]))]
    pub lifetime: Span,
    /// How many there may be at a time.
    #[serde(default = "DynamicRegistration::default_max_clients")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_clients: u32,
    /// The most that tokens of such clients may be good for; omitted: everything. The user decides each time.
    #[serde(default = "every_scope")]
    #[schemars(length(min = 1, max = 6))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub scopes: Vec<Scope>,
}

impl Default for DynamicRegistration {
    fn default() -> Self {
        Self { lifetime: Self::default_lifetime(), max_clients: Self::default_max_clients(), scopes: every_scope() }
    }
}

impl DynamicRegistration {
    fn default_lifetime() -> Span {
        Span::from_secs(90 * 24 * 3600)
    }
    fn default_max_clients() -> u32 {
        100
    }
}

fn every_scope() -> Vec<Scope> {
    Scope::ALL.to_vec()
}

/// An authorization server elsewhere, instead of the built-in one: the endpoint only verifies its tokens (RFC 9068).
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalIssuer {
    /// Its issuer, exactly as its metadata has it.
    #[schemars(length(min = 1, max = 512))]
    #[schemars(extend("x-kubernetes-validations" = [schema::provider_url()]))]
    pub issuer_url: String,
    /// What tokens for this endpoint have in `aud`; omitted: the endpoint's URL (RFC 8707).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub audience: Option<String>,
    /// The claim that people are called by. Users are told apart by `sub`, whatever this says.
    #[serde(default = "ExternalIssuer::default_username_claim")]
    #[schemars(length(min = 1, max = 128))]
    pub username_claim: String,
    /// Certificates (PEM) of a private authority that signs the issuer's; omitted: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65_536))]
    #[schemars(extend("x-kubernetes-validations" = [schema::certificates()]))]
    pub ca_bundle: Option<String>,
}

impl ExternalIssuer {
    fn default_username_claim() -> String {
        "preferred_username".to_owned()
    }
}

/// Pods of the cluster that obtain tokens with the token of their service account (RFC 7523), and no secret.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadIdentity {
    /// Who may; a pod that several rules name gets the scopes of all of them.
    #[schemars(length(min = 1, max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub rules: Vec<WorkloadRule>,
}

/// Service accounts, and what they may do.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRule {
    /// Names the rule in logs.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The namespaces of the service accounts, by name.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 63)))]
    #[schemars(extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [Rule::new("self.all(n, n.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'))", "each must be the name of a namespace; there are no wildcards")]))]
    pub namespaces: Vec<String>,
    /// The service accounts, by name; `*` for every one of those namespaces.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)))]
    #[schemars(extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [Rule::new("self.all(n, n == '*' || n.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$'))", "each must be the name of a service account, or * for all")]))]
    pub service_accounts: Vec<String>,
    /// What their tokens are good for.
    #[schemars(length(min = 1, max = 6))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub scopes: Vec<Scope>,
}
