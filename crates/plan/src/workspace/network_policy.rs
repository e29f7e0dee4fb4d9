//! Who may connect to a workspace (nobody: the agent is reached through the API server), and where it may connect to.
//!
//! `None` is nothing at all: a name server would be a way out for data. `Internet` is the public address spaces less
//! what is for special purposes in them, so never a private network, a node's link-local address or a cloud's metadata.

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
            // Said, so that somebody's rule is found and taken out.
            ingress: Some(Vec::new()),
            egress: Some(egress),
        }),
    }
}

/// The cluster's name server.
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

/// Public addresses, but for those of the cluster's own networks.
fn internet(internal: &[IpNet]) -> NetworkPolicyEgressRule {
    let block = |(space, special): (IpNet, Vec<IpNet>)| {
        // A cluster that says that every address is its own has no internet.
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
