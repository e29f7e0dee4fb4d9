//! `spec.network`: who may connect to the servers, and where they may connect to.

use k8s_openapi::api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicyPeer};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Access rules by network address.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("!self.proxyProtocol || self.trustedProxies.size() > 0")
    .field_path(".proxyProtocol")
    .message("needs trustedProxies, since only their headers are trusted"),
    validation = Rule::new("self.egress == 'Restricted' || self.egressRules.size() == 0")
    .field_path(".egressRules")
    .message("only apply with egress: Restricted; set it, or remove them"))]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// The networks of permitted clients. Empty: all. Behind a proxy, this requires `trustedProxies`.
    #[serde(default)]
    #[schemars(length(max = 128), inner(length(max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new("self.all(c, isCIDR(c))")
        .message("each must be a network such as 160.79.104.0/21 or 2607:6bc0::/48; a single address is written with /32 or /128"))]
    pub allowed_cidrs: Vec<String>,
    /// Proxies whose `X-Forwarded-For` or `Forwarded` (RFC 7239) is trusted, such as the ingress controller's network.
    #[serde(default)]
    #[schemars(length(max = 128), inner(length(max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new("self.all(c, isCIDR(c))")
        .message("each must be a network such as 10.0.0.0/8; a single address is written with /32 or /128"))]
    pub trusted_proxies: Vec<String>,
    /// Whether connections from `trustedProxies` begin with a PROXY protocol header (version 1 or 2). Connections
    /// without it are closed.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Whether a NetworkPolicy restricts the connections to and from the servers.
    #[serde(default = "Network::default_network_policy")]
    pub network_policy: bool,
    /// Peers that may connect to the public port, as in a NetworkPolicy, such as the pods of the ingress controller.
    /// Empty: all.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub ingress_from: Vec<NetworkPolicyPeer>,
    /// Peers that may read metrics from the private port, as in a NetworkPolicy, in addition to those of the operator's
    /// settings.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub monitoring_from: Vec<NetworkPolicyPeer>,
    /// The destinations to which the servers may connect.
    #[serde(default)]
    pub egress: ServerEgress,
    /// Additional destinations for `egress: Restricted`, as in a NetworkPolicy, such as an identity provider with a
    /// private address.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub egress_rules: Vec<NetworkPolicyEgressRule>,
}

/// The destinations to which servers may connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum ServerEgress {
    /// DNS, the API server, HTTPS to public addresses, and the destinations of `egressRules`.
    #[default]
    Restricted,
    /// All destinations.
    Any,
}

impl Network {
    fn default_network_policy() -> bool {
        true
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            allowed_cidrs: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            network_policy: Self::default_network_policy(),
            ingress_from: Vec::new(),
            monitoring_from: Vec::new(),
            egress: ServerEgress::default(),
            egress_rules: Vec::new(),
        }
    }
}
