//! The NetworkPolicy of a workspace. It denies all ingress, since the workspace agent is reached through the API
//! server, and restricts egress.
//!
//! `None` denies all egress, even DNS, which could be used to exfiltrate data. `Internet` allows the public address
//! spaces except their special-purpose ranges, and therefore never private networks, link-local addresses of nodes or
//! cloud metadata services.

use crate::workspace::{PodRevision, metadata, selector};
use ipnet::IpNet;
use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use portcullis_api::{Workspace, template::Egress};
use portcullis_core::ip_ranges;

pub(super) fn network_policy(workspace: &Workspace, pod_revision: &PodRevision, internal: &[IpNet]) -> NetworkPolicy {
    let egress = match pod_revision.egress {
        Egress::None => Vec::new(),
        Egress::Internet => vec![names(), internet(internal)],
        Egress::Custom => [vec![names()], pod_revision.egress_rules.clone()].concat(),
    };
    NetworkPolicy {
        metadata: metadata(workspace),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(workspace)),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            // An explicit empty list, so that server-side apply removes rules that were added by others.
            ingress: Some(Vec::new()),
            egress: Some(egress),
        }),
    }
}

/// The rule for the cluster's name server.
fn names() -> NetworkPolicyEgressRule {
    let label = |name: &str, value: &str| {
        Some(LabelSelector {
            match_labels: Some([(name.to_owned(), value.to_owned())].into()),
            ..LabelSelector::default()
        })
    };
    let port = |protocol: &str| NetworkPolicyPort {
        port: Some(IntOrString::Int(53)),
        protocol: Some(protocol.to_owned()),
        end_port: None,
    };
    NetworkPolicyEgressRule {
        to: Some(vec![NetworkPolicyPeer {
            namespace_selector: label("kubernetes.io/metadata.name", "kube-system"),
            pod_selector: label("k8s-app", "kube-dns"),
            ip_block: None,
        }]),
        ports: Some(vec![port("UDP"), port("TCP")]),
    }
}

/// The rule for public addresses, except those of the cluster's own networks.
fn internet(internal: &[IpNet]) -> NetworkPolicyEgressRule {
    let block = |(space, special): (IpNet, Vec<IpNet>)| {
        // A cluster whose networks contain the whole space has no internet.
        if internal.iter().any(|own| own.contains(&space)) {
            return None;
        }
        let own = internal.iter().copied().map(|network| network.trunc()).filter(|network| space.contains(network));
        let outside: Vec<IpNet> = special.into_iter().chain(own).collect();
        let except = IpNet::aggregate(&outside).iter().map(ToString::to_string).collect();
        let ip_block = IPBlock { cidr: space.to_string(), except: Some(except) };
        Some(NetworkPolicyPeer { ip_block: Some(ip_block), ..NetworkPolicyPeer::default() })
    };
    NetworkPolicyEgressRule { to: Some(ip_ranges::spaces().into_iter().filter_map(block).collect()), ports: None }
}
