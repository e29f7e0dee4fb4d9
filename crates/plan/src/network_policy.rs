//! The NetworkPolicy of the servers, for ingress and egress.
//!
//! Ingress: the public port is open to all sources, or only to the peers in the manifest and to the operator, which
//! verifies servers. The private port is open to the operator and to monitoring. Egress: DNS, the API server, and HTTPS
//! to public addresses, for identity providers and documents of clients. A private identity provider needs a rule in
//! the manifest. Workspaces are reached through the API server.

use crate::{
    ClusterFacts,
    metadata::{Component, Owner},
};
use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use portcullis_api::{McpEndpointSpec, endpoint::ServerEgress};
use portcullis_config::{PRIVATE_PORT, PUBLIC_PORT};
use portcullis_core::ip_ranges;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

const HTTPS: u16 = 443;
/// The ports of name servers; 5353 is that of OpenShift's DNS pods.
const DNS: [u16; 2] = [53, 5353];
/// The address of NodeLocal DNSCache on nodes.
const LOCAL_DNS: &str = "169.254.20.10/32";

/// The pods that may connect to the private port of every server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Neighbours {
    /// The operator. `None` if it is unknown: any pod may connect.
    pub operator: Option<NetworkPolicyPeer>,
    /// The pods that collect metrics.
    pub monitoring: Vec<NetworkPolicyPeer>,
}

impl Neighbours {
    /// The operator as the pods of a namespace with these labels, and no monitoring.
    #[must_use]
    pub fn of_operator(namespace: &str, labels: BTreeMap<String, String>) -> Self {
        let selector = |labels| Some(LabelSelector { match_labels: Some(labels), match_expressions: None });
        let name = [("kubernetes.io/metadata.name".to_owned(), namespace.to_owned())].into();
        let operator = NetworkPolicyPeer {
            namespace_selector: selector(name),
            pod_selector: selector(labels),
            ..NetworkPolicyPeer::default()
        };
        Self { operator: Some(operator), monitoring: Vec::new() }
    }
}

/// Peers as JSON, such as `[{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Peers(pub Vec<NetworkPolicyPeer>);

impl std::str::FromStr for Peers {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

/// The NetworkPolicy; `None` if `spec.network.networkPolicy` is false.
pub(super) fn network_policy(owner: &Owner<'_>, cluster: &ClusterFacts) -> Option<NetworkPolicy> {
    let spec = &owner.endpoint().spec;
    let egress = egress(spec, &cluster.api_servers);
    let directions = [Some("Ingress"), egress.as_ref().map(|_| "Egress")];
    spec.network.network_policy.then(|| NetworkPolicy {
        metadata: owner.metadata(owner.name(), Component::Server),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(owner.server_selector()),
            policy_types: Some(directions.into_iter().flatten().map(ToOwned::to_owned).collect()),
            ingress: Some(ingress(spec, &cluster.neighbours)),
            egress,
        }),
    })
}

fn ingress(spec: &McpEndpointSpec, neighbours: &Neighbours) -> Vec<NetworkPolicyIngressRule> {
    let any_pod =
        || NetworkPolicyPeer { namespace_selector: Some(LabelSelector::default()), ..NetworkPolicyPeer::default() };
    let operator = neighbours.operator.clone().unwrap_or_else(any_pod);
    let given = &spec.network.ingress_from;
    let public = (!given.is_empty()).then(|| [given.clone(), vec![operator.clone()]].concat());
    let private = [vec![operator], neighbours.monitoring.clone(), spec.network.monitoring_from.clone()].concat();
    let rule = |number, from| NetworkPolicyIngressRule { ports: Some(ports([number], &["TCP"])), from };
    vec![rule(PUBLIC_PORT, public), rule(PRIVATE_PORT, Some(private))]
}

/// The egress rules; `None`, which allows all egress, with `spec.network.egress: Any` or if the addresses of the API
/// server are unknown.
fn egress(spec: &McpEndpointSpec, api_servers: &BTreeSet<SocketAddr>) -> Option<Vec<NetworkPolicyEgressRule>> {
    if spec.network.egress == ServerEgress::Any || api_servers.is_empty() {
        return None;
    }
    let names = NetworkPolicyEgressRule {
        to: Some(vec![
            NetworkPolicyPeer { namespace_selector: Some(LabelSelector::default()), ..NetworkPolicyPeer::default() },
            block(LOCAL_DNS.to_owned(), None),
        ]),
        ports: Some(ports(DNS, &["UDP", "TCP"])),
    };
    let mut by_port: BTreeMap<u16, Vec<NetworkPolicyPeer>> = BTreeMap::new();
    for server in api_servers {
        by_port.entry(server.port()).or_default().push(address(server.ip()));
    }
    let api = by_port
        .into_iter()
        .map(|(port, to)| NetworkPolicyEgressRule { to: Some(to), ports: Some(ports([port], &["TCP"])) });
    let public = ip_ranges::spaces()
        .into_iter()
        .map(|(space, special)| block(space.to_string(), Some(special.iter().map(ToString::to_string).collect())));
    let public =
        NetworkPolicyEgressRule { to: Some(public.collect()), ports: Some(ports(provider_ports(spec), &["TCP"])) };
    let given = spec.network.egress_rules.iter().cloned();
    Some([names].into_iter().chain(api).chain([public]).chain(given).collect())
}

/// Port 443, and the ports of the identity providers in the manifest.
fn provider_ports(spec: &McpEndpointSpec) -> BTreeSet<u16> {
    let providers = spec.login.iter().flat_map(|login| {
        let oidc = login.oidc.as_ref().map(|oidc| oidc.issuer_url.as_str());
        [oidc, login.github.as_ref().map(|github| github.url.as_str())]
    });
    let external = spec.external_issuer.as_ref().map(|issuer| issuer.issuer_url.as_str());
    let named = providers.chain([external]).flatten().filter_map(|url| url::Url::parse(url).ok()?.port());
    [HTTPS].into_iter().chain(named).collect()
}

fn ports(numbers: impl IntoIterator<Item = u16>, protocols: &[&str]) -> Vec<NetworkPolicyPort> {
    let numbers = numbers.into_iter();
    numbers
        .flat_map(|number| {
            protocols.iter().map(move |protocol| NetworkPolicyPort {
                port: Some(IntOrString::Int(number.into())),
                protocol: Some((*protocol).to_owned()),
                end_port: None,
            })
        })
        .collect()
}

fn address(address: IpAddr) -> NetworkPolicyPeer {
    block(format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 }), None)
}

fn block(cidr: String, except: Option<Vec<String>>) -> NetworkPolicyPeer {
    NetworkPolicyPeer { ip_block: Some(IPBlock { cidr, except }), ..NetworkPolicyPeer::default() }
}
