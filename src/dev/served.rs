//! The endpoint as `portcullis dev` serves it: at the listener's origin, without a cluster around it, open to every client
//! that signs its user in.

use portcullis_api::{
    McpEndpoint, McpEndpointSpec,
    endpoint::{CorsEnforcement, Network, ServerDeployment},
    exposure::{Exposure, NoExposure},
};
use portcullis_core::{
    PublicUrl,
    authorization::{ClientPolicy, DynamicRegistration, MetadataDocuments},
    limits::Limits,
    public_url::PublicUrlError,
    workspace::AuthorizationMode,
};

/// The rate limits if the manifest does not set any.
const REQUESTS_PER_SECOND: u32 = 100;
const BURST: u32 = 200;

/// The endpoint as it is served on this machine, at `origin`.
pub(super) fn served_locally(endpoint: &McpEndpoint, origin: &str) -> Result<McpEndpoint, PublicUrlError> {
    let url: PublicUrl = endpoint.spec.url.parse()?;
    let mut local = endpoint.clone();
    local.spec.url = url.at_origin(origin).resource();
    local.spec.exposure = Exposure { none: Some(NoExposure {}), ..Exposure::default() };
    local.spec.tls = None;
    // One server, which has the endpoint's rates to itself.
    local.spec.deployment = ServerDeployment { replicas: Some(1), ..ServerDeployment::default() };
    // The agents of one user send requests as fast as they can, and there are no other users.
    let (limits, usual) = (&mut local.spec.limits, Limits::default());
    if limits.requests_per_second == usual.requests_per_second && limits.burst == usual.burst {
        (limits.requests_per_second, limits.burst) = (REQUESTS_PER_SECOND, BURST);
    }
    local.spec.cors.enforced_by = CorsEnforcement::Server;
    // Rules by address are about the networks in front of a cluster; everything on this machine comes from loopback.
    local.spec.network = Network { network_policy: local.spec.network.network_policy, ..Network::default() };
    Ok(local)
}

/// Lets every client register itself or describe itself by a metadata document. The consent page is the gate: nothing is
/// allowed before the user of this machine has signed in.
pub(super) fn open_to_clients(spec: &mut McpEndpointSpec) {
    if spec.external_issuer.is_none() {
        spec.clients = ClientPolicy {
            metadata_documents: Some(MetadataDocuments::of_any_host()),
            dynamic_registration: Some(DynamicRegistration::default()),
        };
    }
}

/// The fields of a manifest that are for a cluster, and have no effect here.
pub(super) fn ignored(spec: &McpEndpointSpec) -> Vec<&'static str> {
    let fields = [
        ("exposure", spec.exposure.ingress.is_some() || spec.exposure.gateway.is_some()),
        ("tls", spec.tls.is_some()),
        ("deployment", spec.deployment != ServerDeployment::default()),
        ("network", spec.network != Network::default()),
        ("cors.enforcedBy", spec.cors.enforced_by != CorsEnforcement::default()),
        ("authorization.mode", spec.authorization.mode != AuthorizationMode::default()),
        ("workloadIdentity", spec.workload_identity.is_some()),
    ];
    fields.into_iter().filter_map(|(field, is_set)| is_set.then_some(field)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_api::validation::admit;
    use serde_json::{Value, json};

    const ORIGIN: &str = "http://127.0.0.1:8080";

    fn endpoint(mut spec: Value) -> McpEndpoint {
        spec["url"] = json!("https://mcp.example.com/team/mcp");
        let manifest = json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "McpEndpoint", "metadata": {"name": "a"},
            "spec": spec});
        admit(manifest).unwrap()
    }

    #[test]
    fn a_local_endpoint_is_loopback_without_proxies() {
        let manifest = endpoint(json!({
            "exposure": {"ingress": {"className": "traefik"}}, "network": {"allowedCidrs": ["160.79.104.0/21"]},
        }));
        let local = served_locally(&manifest, ORIGIN).unwrap().spec;
        assert_eq!(local.url, "http://127.0.0.1:8080/team/mcp");
        assert_eq!(local.exposure, Exposure { none: Some(NoExposure {}), ..Exposure::default() });
        assert!(local.network.allowed_cidrs.is_empty());
        assert_eq!((local.limits.requests_per_second, local.limits.burst), (100, 200));
        let slow = served_locally(&endpoint(json!({"limits": {"burst": 5}})), ORIGIN).unwrap().spec.limits;
        assert_eq!((slow.requests_per_second, slow.burst), (10, 5), "what the manifest says counts");
        assert_eq!(local.deployment.replicas, Some(1), "there is one server");
    }

    #[test]
    fn every_client_may_join_unless_tokens_are_issued_elsewhere() {
        let mut spec = endpoint(json!({})).spec;
        open_to_clients(&mut spec);
        assert!(spec.clients.dynamic_registration.is_some());
        let documents = spec.clients.metadata_documents.unwrap();
        assert!(documents.allows("claude.ai") && documents.allows("agents.example.com"));
        let mut external = endpoint(json!({"externalIssuer": {"issuerUrl": "https://idp.example.com"}})).spec;
        open_to_clients(&mut external);
        assert_eq!(external.clients, ClientPolicy::default());
    }

    #[test]
    fn ignored_fields_are_those_that_the_manifest_sets() {
        for (spec, expected) in [
            (json!({}), &[][..]),
            (json!({"login": [], "limits": {"burst": 5}, "cors": {"allowedOrigins": ["https://a.example"]}}), &[]),
            (json!({"exposure": {"none": {}}, "tls": {"secretName": "t"}}), &["tls"]),
            (json!({"exposure": {"ingress": {}}}), &["exposure"]),
            (json!({"deployment": {"replicas": 3}, "network": {"networkPolicy": false}}), &["deployment", "network"]),
            (
                json!({"cors": {"enforcedBy": "Server"}, "authorization": {"mode": "Kubernetes"}}),
                &["cors.enforcedBy", "authorization.mode"],
            ),
        ] {
            assert_eq!(ignored(&endpoint(spec.clone()).spec), expected, "{spec}");
        }
    }
}
