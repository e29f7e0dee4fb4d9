//! What the cluster forbids: NetworkPolicies and ResourceQuotas.

use super::{Subject, read};
use crate::{
    Check, Code, Finding,
    cluster::{
        selector::selects,
        value::{list, name},
    },
    observation::clipped,
};
use serde_json::{Value, json};

pub(super) fn network_policies(subject: &Subject<'_>) -> Finding {
    const CHECK: Check = Check::NetworkPolicy;
    let policies = match read(CHECK, &subject.cluster.policies) {
        Ok(policies) => policies,
        Err(finding) => return finding,
    };
    let labels = subject
        .cluster
        .deployment
        .as_ref()
        .ok()
        .and_then(Option::as_ref)
        .and_then(|deployment| deployment.pointer("/spec/template/metadata"));
    let Some(metadata) = labels else { return super::not_examined(CHECK) };
    let pod = json!({"metadata": metadata});
    let selecting: Vec<&Value> =
        policies.iter().filter(|policy| selects(&policy["spec"]["podSelector"], &pod)).collect();
    for (direction, field) in [("Ingress", "ingress"), ("Egress", "egress")] {
        let applying: Vec<&&Value> = selecting.iter().filter(|policy| applies(policy, direction, field)).collect();
        let allows = |policy: &&&Value| !list(&policy["spec"], &format!("/{field}")).is_empty();
        if !applying.is_empty() && !applying.iter().any(allows) {
            let names: Vec<&str> = applying.iter().map(|policy| name(policy)).collect();
            let seen = format!("{direction} is denied by {}, and allowed by no policy", names.join(", "));
            return Finding::problem(CHECK, Code::NetworkPolicyDenies, clipped(&seen));
        }
    }
    let names: Vec<&str> = selecting.iter().map(|policy| name(policy)).collect();
    let shown = if names.is_empty() { "no policy selects the servers".to_owned() } else { names.join(", ") };
    Finding::ok(CHECK, clipped(&shown))
}

/// Whether a policy applies to a direction. Without `policyTypes`, to `Ingress`, and to `Egress` if it has rules.
fn applies(policy: &Value, direction: &str, field: &str) -> bool {
    match policy["spec"]["policyTypes"].as_array() {
        Some(types) if !types.is_empty() => types.iter().any(|kind| kind == direction),
        _ => direction == "Ingress" || !list(&policy["spec"], &format!("/{field}")).is_empty(),
    }
}

pub(super) fn quotas(subject: &Subject<'_>) -> Vec<Finding> {
    const CHECK: Check = Check::Quota;
    let quotas = match read(CHECK, &subject.cluster.quotas) {
        Ok(quotas) => quotas,
        Err(finding) => return vec![finding],
    };
    let used_up: Vec<Finding> = quotas
        .iter()
        .filter_map(|quota| {
            let resources: Vec<&str> = quota["status"]["hard"]
                .as_object()?
                .iter()
                // A quota is used up exactly only when no other object fits, so equal texts are enough.
                .filter(|(resource, hard)| quota["status"]["used"][resource.as_str()] == **hard && **hard != "0")
                .map(|(resource, _)| resource.as_str())
                .collect();
            let seen = format!("used up: {}", resources.join(", "));
            (!resources.is_empty())
                .then(|| Finding::problem(CHECK, Code::QuotaReached, clipped(&seen)).about(name(quota)))
        })
        .collect();
    if used_up.is_empty() {
        return vec![Finding::ok(CHECK, format!("{} quotas, none is used up", quotas.len()))];
    }
    used_up
}
