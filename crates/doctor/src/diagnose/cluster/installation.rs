//! The API, the custom resource definitions, the McpEndpoint and the operator.

use super::{Subject, read, servers, unavailable};
use crate::{
    Check, Code, Finding, Outcome,
    cluster::{ClusterObservations, EndpointTarget, ReadFailure, value},
    observation::clipped,
};
use serde_json::Value;

/// The kinds without which no endpoint works, by their plural names.
const KINDS: [&str; 3] = ["mcpendpoints", "oauthclients", "oauthgrants"];

pub(super) fn api(cluster: &ClusterObservations) -> Finding {
    match &cluster.kinds {
        Err(failure @ ReadFailure::Unavailable(_)) => unavailable(Check::Cluster, failure),
        _ => Finding::ok(Check::Cluster, "the Kubernetes API answers"),
    }
}

pub(super) fn definitions(cluster: &ClusterObservations) -> Finding {
    const CHECK: Check = Check::Definitions;
    let kinds = match read(CHECK, &cluster.kinds) {
        Ok(kinds) => kinds,
        Err(finding) if finding.code() == Some(Code::ClusterUnavailable) => {
            return Finding::skipped(CHECK, Outcome::Skipped("the Kubernetes API does not answer"));
        }
        Err(finding) => return finding,
    };
    let missing: Vec<&str> = KINDS.into_iter().filter(|kind| !kinds.iter().any(|served| served == kind)).collect();
    if missing.is_empty() {
        return Finding::ok(CHECK, format!("{} kinds", kinds.len()));
    }
    Finding::problem(CHECK, Code::DefinitionsMissing, format!("the cluster does not have {}", missing.join(", ")))
}

pub(super) fn resource(cluster: &ClusterObservations) -> Finding {
    const CHECK: Check = Check::Resource;
    match read(CHECK, &cluster.endpoint) {
        Err(finding) => finding,
        Ok(Some(endpoint)) => {
            Finding::ok(CHECK, format!("McpEndpoint {}/{}", value::namespace(endpoint), value::name(endpoint)))
        }
        Ok(None) => {
            let seen = match &cluster.target {
                EndpointTarget::Name(name) => format!("there is no McpEndpoint {name}"),
                EndpointTarget::Url(_) if cluster.others.is_empty() => "there is no McpEndpoint".to_owned(),
                EndpointTarget::Url(_) => format!("no McpEndpoint has this URL; {}", cluster.others.join(", ")),
            };
            Finding::problem(CHECK, Code::EndpointNotFound, clipped(&seen))
        }
    }
}

/// Whether the operator has processed the newest version of the resource.
fn is_reconciled(endpoint: &Value) -> bool {
    let generation = value::number(endpoint, "/metadata/generation");
    generation.is_some() && value::number(endpoint, "/status/observedGeneration") >= generation
}

pub(super) fn operator(subject: &Subject<'_>) -> Finding {
    const CHECK: Check = Check::Operator;
    let reconciled = is_reconciled(subject.endpoint);
    let deployments = match read(CHECK, &subject.cluster.operators) {
        Ok(deployments) => deployments,
        Err(finding) => return finding,
    };
    let behind = "the status of the McpEndpoint is not about its newest generation";
    let Some(first) = deployments.first() else {
        return if reconciled {
            Finding::problem(CHECK, Code::OperatorNotFound, "no Deployment has the labels of the chart")
        } else {
            Finding::problem(
                CHECK,
                Code::OperatorMissing,
                format!("no Deployment has the labels of the chart, and {behind}"),
            )
        };
    };
    let ready: i64 =
        deployments.iter().filter_map(|deployment| value::number(deployment, "/status/readyReplicas")).sum();
    let shown = format!("Deployment {}/{}", value::namespace(first), value::name(first));
    if ready == 0 {
        let pods = subject.cluster.operator_pods.as_deref().unwrap_or_default();
        let why = pods.iter().find_map(servers::problem);
        let why = why.map(|problem| format!("; {}: {}", problem.code.name(), problem.seen)).unwrap_or_default();
        return Finding::problem(CHECK, Code::OperatorNotReady, clipped(&format!("{shown}: no pod is ready{why}")));
    }
    if !reconciled {
        return Finding::problem(CHECK, Code::NotReconciled, format!("{shown}: {ready} pods are ready, but {behind}"));
    }
    Finding::ok(CHECK, format!("{shown}: {ready} pods are ready"))
}
