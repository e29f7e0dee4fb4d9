//! Decides whether an endpoint gets its Ingress or HTTPRoute, by the operator's exposure settings and by conflicts with
//! other endpoints.

use crate::{ClusterFacts, backend::Controller, metadata::Owner};
use portcullis_api::McpEndpointSpec;
use portcullis_core::PublicUrl;
use std::collections::BTreeMap;

/// The maximum number of annotation names in a message.
const SHOWN: usize = 5;

/// Why there is no Ingress or HTTPRoute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteProblem {
    /// An older endpoint of the namespace has one of the URLs.
    #[error(
        "McpEndpoint {by:?}, which is older, answers at {url} already: give this one another host, or another path before the last segment of its URL, such as https://mcp.example.com/team/mcp; it has no Ingress or HTTPRoute until then"
    )]
    UrlTaken {
        /// The name of the older endpoint.
        by: String,
        /// A URL that both endpoints would serve.
        url: String,
    },
    /// An endpoint of another namespace has the host.
    #[error(
        "host {host} belongs to an McpEndpoint of another namespace, which had it first: use another host in spec.url, or ask the platform's engineers to share it (sharedHosts in the operator's exposure settings); it has no Ingress or HTTPRoute until then"
    )]
    HostTaken {
        /// The host.
        host: String,
    },
    /// The host is shared, and an endpoint of another namespace has one of the URLs.
    #[error(
        "an McpEndpoint of another namespace answers at {url} already: give this one another path before the last segment of its URL, such as https://mcp.example.com/team/mcp; it has no Ingress or HTTPRoute until then"
    )]
    UrlTakenElsewhere {
        /// A URL that both endpoints would serve.
        url: String,
    },
    /// The settings do not permit the host.
    #[error(
        "host {host} is not permitted in this namespace: use another host in spec.url, or ask the platform's engineers to permit it (hosts in the operator's exposure settings)"
    )]
    HostNotPermitted {
        /// The host.
        host: String,
    },
    /// The settings do not permit the IngressClass.
    #[error(
        "{class} is not permitted in this namespace: use another one in spec.exposure.ingress.className, or ask the platform's engineers to permit it (ingressClasses in the operator's exposure settings)"
    )]
    ClassNotPermitted {
        /// The class as a phrase for the message.
        class: String,
    },
}

/// The permitted part of `spec.exposure`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) problem: Option<RouteProblem>,
    /// The manifest's annotations that are permitted.
    pub(super) annotations: BTreeMap<String, String>,
    /// A sentence for the status about the annotations that are not permitted.
    pub(super) refused: Option<String>,
}

impl Route {
    pub(super) fn decide(
        owner: &Owner<'_>,
        url: &PublicUrl,
        controller: &Controller<'_>,
        cluster: &ClusterFacts,
        taken: Option<&RouteProblem>,
    ) -> Self {
        let exposure = &owner.endpoint().spec.exposure;
        if exposure.none.is_some() {
            return Self::default();
        }
        let given = match (&exposure.gateway, &exposure.ingress) {
            (Some(gateway), _) => gateway.annotations.clone(),
            (None, Some(ingress)) => ingress.annotations.clone(),
            (None, None) => BTreeMap::new(),
        };
        let (rules, namespace) = (&cluster.exposure, owner.namespace());
        let (annotations, refused): (BTreeMap<_, _>, BTreeMap<_, _>) =
            given.into_iter().partition(|(name, _)| rules.permits_annotation(namespace, name));
        let problem = if rules.permits_host(namespace, url.host()) {
            class_problem(&owner.endpoint().spec, controller, cluster, namespace).or_else(|| taken.cloned())
        } else {
            Some(RouteProblem::HostNotPermitted { host: url.host().to_owned() })
        };
        Self { problem, annotations, refused: refusal_note(&refused) }
    }
}

fn class_problem(
    spec: &McpEndpointSpec,
    controller: &Controller<'_>,
    cluster: &ClusterFacts,
    namespace: &str,
) -> Option<RouteProblem> {
    let refused = spec.exposure.gateway.is_none() && !cluster.exposure.permits_class(namespace, controller.class);
    refused.then(|| {
        let class = controller.class.map_or_else(
            || "the controller's default IngressClass".to_owned(),
            |class| format!("IngressClass {class:?}"),
        );
        RouteProblem::ClassNotPermitted { class }
    })
}

fn refusal_note(refused: &BTreeMap<String, String>) -> Option<String> {
    let more = refused.len().saturating_sub(SHOWN);
    let mut names: Vec<String> = refused.keys().take(SHOWN).cloned().collect();
    names.extend((more > 0).then(|| format!("{more} more")));
    (!names.is_empty()).then(|| {
        format!(
            "annotations that are not permitted in this namespace were left out: {}; remove them, or ask the platform's engineers to permit them (annotations in the operator's exposure settings)",
            names.join(", ")
        )
    })
}
