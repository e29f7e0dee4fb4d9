//! The PodDisruptionBudget of the servers.

use crate::{
    deployment,
    metadata::{Component, Owner},
};
use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

/// The budget; `None` for a single server without `spec.deployment.disruptionBudget`, since a budget would only block
/// the draining of its node.
pub(super) fn disruption_budget(owner: &Owner<'_>) -> Option<PodDisruptionBudget> {
    let given = owner.endpoint().spec.deployment.disruption_budget.as_ref().map(|budget| budget.min_available.clone());
    let several = || (deployment::least_replicas(owner) > 1).then_some(IntOrString::Int(1));
    let min_available = given.or_else(several)?;
    Some(PodDisruptionBudget {
        metadata: owner.metadata(owner.name(), Component::Server),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(min_available),
            selector: Some(owner.server_selector()),
            // A server that is not ready serves no requests, so it must not block the draining of a node.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}
