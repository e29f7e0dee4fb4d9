//! `OAuthClient`: an agent that may ask for tokens at one endpoint, and its credentials.

use crate::{preset::Preset, rules};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use portcullis_core::client::{ClientType, Grant, PrivateKeyJwt};
use portcullis_core::{quantity::Span, redirect_uri, scope::Scope};
use serde::{Deserialize, Serialize};

/// An OAuth client (RFC 6749 §2) of an endpoint in the same namespace. Its client id is its name. The operator
/// generates and rotates its secret, and writes both to a Secret, from which the agent is configured.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "OAuthClient",
    plural = "oauthclients",
    namespaced,
    status = "OAuthClientStatus",
    shortname = "oac",
    category = "portcullis",
    cel,
    derive = "PartialEq",
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".spec.endpointRef.name"),
    printcolumn(name = "Preset", type_ = "string", json_path = ".spec.preset"),
    printcolumn(name = "Registered-Until", type_ = "string", json_path = ".spec.registration.expiresAt", priority = 1),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secretName"),
    printcolumn(name = "Rotates", type_ = "string", json_path = ".status.nextRotation", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 52")
        .message("metadata.name: must be at most 52 characters, since the name of the client's Secret begins with it")
)]
#[x_kube(
    validation = Rule::new("[has(self.secret), has(self.existingSecret), has(self.privateKeyJwt)].filter(p, p).size() <= 1")
        .message("secret, existingSecret and privateKeyJwt exclude each other; keep one"),
    validation = Rule::new(format!("{} != 'Public' || !(has(self.secret) || has(self.existingSecret) || has(self.privateKeyJwt))", type_of("self")))
        .field_path(".type")
        .message("a Public client has no secret and no key; remove secret, existingSecret and privateKeyJwt, or set spec.type to Confidential"),
    validation = Rule::new(format!("!has(self.registration) || {} == 'Public'", type_of("self")))
        .field_path(".registration")
        .message("is for Public clients, which registered themselves; remove it"),
    validation = Rule::new(format!("{} != 'Public' || !has(self.grants) || !('client_credentials' in self.grants)", type_of("self")))
        .field_path(".grants")
        .message("client_credentials needs a client that keeps a secret; set spec.type to Confidential"),
    validation = Rule::new("self.preset != 'custom' || self.redirectUris.size() > 0 || (has(self.grants) && !('authorization_code' in self.grants))")
        .field_path(".redirectUris")
        .message("a custom client that signs people in needs at least one; for an unattended agent set spec.grants to [client_credentials]"),
    validation = Rule::new("!has(self.grants) || !('refresh_token' in self.grants) || 'authorization_code' in self.grants")
        .field_path(".grants")
        .message("refresh_token goes with authorization_code; add it or remove refresh_token"),
    validation = Rule::new(format!("{} == {}", type_of("self"), type_of("oldSelf")))
        .field_path(".type")
        .message("cannot be changed, not by another preset either; make a new OAuthClient")
)]
#[serde(rename_all = "camelCase")]
pub struct OAuthClientSpec {
    /// The endpoint, in the same namespace.
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("cannot be changed; make a new OAuthClient for the other endpoint"))]
    pub endpoint_ref: EndpointRef,
    /// The name on the consent page. Default: the preset's, or `metadata.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("!self.matches('[[:cntrl:]]')").message("must have no control characters"))]
    pub display_name: Option<String>,
    /// A well-known client, which sets defaults for type, grants and redirect URIs.
    #[serde(default)]
    pub preset: Preset,
    /// Redirect URIs, in addition to the preset's. They are matched exactly (RFC 9700 §2.1), except for the port of a
    /// loopback address. Private-use schemes are allowed: `app://callback`, `com.example.app:/callback` (RFC 8252
    /// §7.1).
    #[serde(default)]
    #[schemars(length(max = redirect_uri::MAX_COUNT), inner(length(min = 1, max = redirect_uri::MAX_LENGTH)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = rules::redirect_uris(redirect_uri::Rule::Wildcard),
        validation = rules::redirect_uris(redirect_uri::Rule::Fragment),
        validation = rules::redirect_uris(redirect_uri::Rule::Character),
        validation = rules::redirect_uris(redirect_uri::Rule::Absolute),
        validation = rules::redirect_uris(redirect_uri::Rule::PlainHttp),
        validation = rules::redirect_uris(redirect_uri::Rule::Scheme)
    )]
    pub redirect_uris: Vec<String>,
    /// Whether the client can keep a secret. Default: the preset's; `custom` is Confidential.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub client_type: Option<ClientType>,
    /// The grant types that the client may use. Default: the preset's, `authorization_code` and `refresh_token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub grants: Option<Vec<Grant>>,
    /// The scopes that its tokens may have.
    #[schemars(length(min = 1, max = 6))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub scopes: Vec<Scope>,
    /// The Secret that the operator writes and rotates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<GeneratedSecret>,
    /// An existing Secret, instead of one that the operator writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing_secret: Option<ExistingSecret>,
    /// The public keys that verify the client's assertions, instead of a secret (`private_key_jwt`, RFC 7523).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key_jwt: Option<PrivateKeyJwt>,
    /// Set by the server for a client that registered itself (RFC 7591).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<Registration>,
}

impl OAuthClientSpec {
    /// Whether the client can keep a secret.
    #[must_use]
    pub fn client_type(&self) -> ClientType {
        self.client_type.unwrap_or_else(|| self.preset.client_type())
    }

    /// The grants that the client may use.
    #[must_use]
    pub fn grants(&self) -> &[Grant] {
        self.grants.as_deref().unwrap_or_else(|| self.preset.grants())
    }

    /// The preset's callbacks, then the manifest's own.
    pub fn redirect_uris(&self) -> impl Iterator<Item = &str> {
        self.preset.redirect_uris().iter().copied().chain(self.redirect_uris.iter().map(String::as_str))
    }
}

/// The CEL expression for the client type of `spec`, as [`OAuthClientSpec::client_type`] has it.
fn type_of(spec: &str) -> String {
    let public = Preset::ALL.into_iter().filter(|preset| preset.client_type() == ClientType::Public);
    let public: Vec<String> = public.map(|preset| format!("'{}'", preset.name())).collect();
    let public = public.join(", ");
    format!("(has({spec}.type) ? {spec}.type : ({spec}.preset in [{public}] ? 'Public' : 'Confidential'))")
}

/// The name of an endpoint.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRef {
    /// Its `metadata.name`.
    #[schemars(length(min = 1, max = 40))]
    pub name: String,
}

/// The Secret that the operator creates for a client, with `client-id`, `client-secret`, `url` and `token-url`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GeneratedSecret {
    /// The Secret's name. Default: the client's name with the suffix `-oauth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub name: Option<String>,
    /// The rotation schedule. Default: the secret is replaced only when the Secret is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
}

/// A schedule for replacing a client's secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = rules::two_spans("overlap", "<", "interval", "1h")
    .field_path(".overlap")
        .message("must be shorter than interval, so that at most two secrets are valid at a time"))]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// The age at which a secret is replaced: at least 1 hour.
    #[x_kube(validation = rules::span("1h", "87600h"))]
    pub interval: Span,
    /// How long the old secret remains valid after a rotation.
    #[serde(default = "Rotation::default_overlap")]
    #[x_kube(validation = rules::span("0s", "87600h"))]
    pub overlap: Span,
}

impl Rotation {
    /// The default of `overlap`.
    #[must_use]
    pub fn default_overlap() -> Span {
        Span::from_secs(30 * 60)
    }
}

/// An existing Secret. It must have the label `portcullis.dev/endpoint` with the endpoint's name, since the operator
/// watches only Secrets with this label.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExistingSecret {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub name: String,
    /// The key of the client secret in the Secret. The secret must be random and have at least 32 characters.
    #[serde(default = "ExistingSecret::default_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

impl ExistingSecret {
    fn default_key() -> String {
        "client-secret".to_owned()
    }
}

/// The registration of a client that registered itself.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// The expiry of the registration. The operator deletes the client then.
    #[schemars(with = "k8s_openapi::apimachinery::pkg::apis::meta::v1::Time")]
    pub expires_at: Timestamp,
    /// A keyed hash of the network that the registration came from, for the quota of registrations per network. The
    /// address cannot be derived from it without the endpoint's keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub source: Option<String>,
}

/// The state that the operator observed.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OAuthClientStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The client's `client_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The Secret with the client's credentials; absent for a Public client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// The time at which the secret was generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>")]
    pub rotated_at: Option<Timestamp>,
    /// The time of the next rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>")]
    pub next_rotation: Option<Timestamp>,
    /// The value of the annotation `portcullis.dev/rotate` that last caused a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_for: Option<String>,
    /// The number of valid grants, which are neither expired nor revoked. Updated at most once a minute.
    #[serde(default)]
    pub active_grants: i32,
    /// `Ready`, `CredentialsLoaded`.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}

#[cfg(test)]
mod tests;
