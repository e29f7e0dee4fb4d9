//! Clients and issuers of an endpoint besides its `OAuthClient`s: clients that describe or register themselves, pods of
//! the cluster, and an external authorization server.

use crate::{
    quantity::Span,
    schema::{self, Rule},
    scope::Scope,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Clients without a manifest, which register themselves or publish a metadata document.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientPolicy {
    /// Clients whose id is the URL of their metadata document (OAuth Client ID Metadata Documents). Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_documents: Option<MetadataDocuments>,
    /// Clients that register themselves (RFC 7591). Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic_registration: Option<DynamicRegistration>,
}

/// Which client metadata documents are fetched.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetadataDocuments {
    /// The hosts of allowed documents, such as `claude.ai`; no addresses and no wildcards.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)))]
    #[schemars(extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [Rule::new("self.all(h, h.matches('^([a-z0-9]([a-z0-9-]*[a-z0-9])?[.])+[a-z][a-z0-9-]*[a-z0-9]$'))", "each must be the full name of a host in lower case, such as claude.ai; no address, port, wildcard or path")]))]
    pub allowed_hosts: Vec<String>,
    /// The scopes that tokens of these clients may have. Default: all. The user selects among them at each consent.
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
    /// The lifetime of a registration: 1 hour to 1 year.
    #[serde(default = "DynamicRegistration::default_lifetime")]
    #[schemars(extend("x-kubernetes-validations" = [Span::rule("1h", "8760h")]))]
    pub lifetime: Span,
    /// The maximum number of registered clients.
    #[serde(default = "DynamicRegistration::default_max_clients")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_clients: u32,
    /// The scopes that tokens of these clients may have. Default: all. The user selects among them at each consent.
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

/// An external authorization server, instead of the built-in one: the endpoint only verifies its tokens (RFC 9068).
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalIssuer {
    /// The issuer, exactly as in its metadata.
    #[schemars(length(min = 1, max = 512))]
    #[schemars(extend("x-kubernetes-validations" = [schema::provider_url()]))]
    pub issuer_url: String,
    /// The `aud` of tokens for this endpoint. Default: the endpoint's URL (RFC 8707).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub audience: Option<String>,
    /// The claim with the display name of a user. Users are identified by `sub` in any case.
    #[serde(default = "ExternalIssuer::default_username_claim")]
    #[schemars(length(min = 1, max = 128))]
    pub username_claim: String,
    /// Certificates (PEM) of a private CA that signs the issuer's certificate. Default: the public CAs.
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

/// Pods that obtain tokens with the token of their service account (RFC 7523), without a secret.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadIdentity {
    /// The rules. A pod that matches several rules gets the scopes of all of them.
    #[schemars(length(min = 1, max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub rules: Vec<WorkloadRule>,
}

/// Service accounts, and the scopes of their tokens.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRule {
    /// The name of the rule in logs.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The names of the service accounts' namespaces.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 63)))]
    #[schemars(extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [Rule::new("self.all(n, n.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'))", "each must be the name of a namespace; there are no wildcards")]))]
    pub namespaces: Vec<String>,
    /// The names of the service accounts; `*` for all of these namespaces.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)))]
    #[schemars(extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [Rule::new("self.all(n, n == '*' || n.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$'))", "each must be the name of a service account, or * for all")]))]
    pub service_accounts: Vec<String>,
    /// The scopes of their tokens.
    #[schemars(length(min = 1, max = 6))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub scopes: Vec<Scope>,
}
