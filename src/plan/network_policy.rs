//! The NetworkPolicy of the servers: the public port is open to anyone, the private one to the cluster's pods, no other.

use super::metadata::{Component, Owner};
use crate::config::{PRIVATE_PORT, PUBLIC_PORT};
use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

/// `None` where the manifest does not want one.
pub(super) fn network_policy(owner: &Owner<'_>) -> Option<NetworkPolicy> {
    let port = |number: u16| {
        Some(vec![NetworkPolicyPort {
            port: Some(IntOrString::Int(number.into())),
            protocol: Some("TCP".to_owned()),
            end_port: None,
        }])
    };
    // Prometheus and the operator may live in any namespace.
    let any_pod =
        NetworkPolicyPeer { namespace_selector: Some(LabelSelector::default()), ..NetworkPolicyPeer::default() };
    owner.endpoint().spec.network.network_policy.then(|| NetworkPolicy {
        metadata: owner.metadata(owner.name(), Component::Server),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(owner.server_selector()),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![
                NetworkPolicyIngressRule { ports: port(PUBLIC_PORT), from: None },
                NetworkPolicyIngressRule { ports: port(PRIVATE_PORT), from: Some(vec![any_pod]) },
            ]),
            egress: None,
        }),
    })
}
