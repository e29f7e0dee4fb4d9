//! `spec.exposure` of an `McpEndpoint`: how it is reached from outside the cluster.

use crate::rules;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the endpoint is reached from outside the cluster.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("[has(self.ingress), has(self.gateway), has(self.none)].filter(given, given).size() <= 1")
    .message("ingress, gateway and none exclude each other; keep one"))]
#[serde(rename_all = "camelCase")]
pub struct Exposure {
    /// Creates an Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressExposure>,
    /// Creates an HTTPRoute of the Gateway API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayExposure>,
    /// Creates nothing: the endpoint is used inside the cluster only, or its route is managed elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub none: Option<NoExposure>,
}

/// The operator creates no route to the endpoint.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoExposure {}

/// The Ingress of an endpoint.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IngressExposure {
    /// The IngressClass. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub class_name: Option<String>,
    /// Annotations of the Ingress. The operator adds those for CORS.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('portcullis.dev/') && !k.startsWith('nginx.ingress.kubernetes.io/cors-') && k != 'nginx.ingress.kubernetes.io/enable-cors')")
        .message("portcullis.dev/… and nginx CORS annotations are written by the operator; use spec.cors instead"))]
    pub annotations: BTreeMap<String, String>,
    /// The certificate. Default: the ingress controller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<IngressTls>,
}

/// The certificate of an Ingress.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.secretName) || has(self.issuerRef)")
    .message("needs secretName, issuerRef, or both"))]
#[serde(rename_all = "camelCase")]
pub struct IngressTls {
    /// A `kubernetes.io/tls` Secret in the endpoint's namespace. With `issuerRef`, cert-manager writes the certificate
    /// to it, by default to `ENDPOINT-tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub secret_name: Option<String>,
    /// The cert-manager issuer of the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
}

/// A cert-manager issuer.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.group != 'cert-manager.io' || self.kind in ['Issuer', 'ClusterIssuer']")
    .field_path(".kind")
    .message("must be Issuer or ClusterIssuer; an issuer of another kind needs its group too"))]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// The issuer's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub name: String,
    /// `Issuer`, `ClusterIssuer`, or a kind of another group.
    #[serde(default = "IssuerRef::default_kind")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// The API group of the kind.
    #[serde(default = "IssuerRef::default_group")]
    #[schemars(length(min = 1, max = 253))]
    pub group: String,
}

impl IssuerRef {
    fn default_kind() -> String {
        "Issuer".to_owned()
    }
    fn default_group() -> String {
        "cert-manager.io".to_owned()
    }
}

/// The HTTPRoute of an endpoint. TLS ends at the Gateway, whose listeners have the certificate.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayExposure {
    /// The Gateways that route to the endpoint. Their listeners must allow routes from this namespace.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(validation = Rule::new("self.all(p, self.exists_one(q, p.name == q.name && (has(p.__namespace__) ? p.__namespace__ : '') == (has(q.__namespace__) ? q.__namespace__ : '') && (!has(p.sectionName) || !has(q.sectionName) || p.sectionName == q.sectionName)))")
        .message("each Gateway may be there once, or once for each of its listeners, by sectionName"))]
    pub parent_refs: Vec<ParentRef>,
    /// Annotations of the HTTPRoute.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('portcullis.dev/'))")
        .message("portcullis.dev/… is written by the operator"))]
    pub annotations: BTreeMap<String, String>,
}

/// A Gateway, or one of its listeners.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// The Gateway's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub name: String,
    /// The Gateway's namespace. Default: the endpoint's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rules::object_name())]
    pub namespace: Option<String>,
    /// One listener of the Gateway. Default: all matching listeners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub section_name: Option<String>,
}
