//! The condition of a `WorkspaceTemplate`: whether workspaces can be created from it.

use crate::status::{finding, reason};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use portcullis_api::{
    WorkspaceTemplate, WorkspaceTemplateStatus,
    condition::{Finding, READY, STALLED, conditions},
    faults::faults,
};

/// The maximum number of faults in a message.
const SHOWN_FAULTS: usize = 5;

/// The status of a template.
#[must_use]
pub fn template_status(template: &WorkspaceTemplate, now: Timestamp) -> WorkspaceTemplateStatus {
    let previous = template.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let faults = faults(&template.spec);
    if faults.is_empty() {
        let message = "workspaces can be created from it".to_owned();
        return status(
            &[finding(READY, Some(true), reason::READY, message)],
            previous,
            template.metadata.generation,
            now,
        );
    }
    let shown: Vec<String> = faults.iter().take(SHOWN_FAULTS).map(ToString::to_string).collect();
    let more = faults.len().saturating_sub(SHOWN_FAULTS);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let message = format!("the template is invalid: {}{more}", shown.join("; "));
    status(&invalid(message), previous, template.metadata.generation, now)
}

/// The status of an unreadable template.
#[must_use]
pub fn unreadable_template_status(error: &str, generation: Option<i64>, now: Timestamp) -> WorkspaceTemplateStatus {
    let message = format!(
        "the manifest cannot be read: {error}; correct it, or update the CRDs, the operator and the servers to the same version"
    );
    status(&invalid(message), &[], generation, now)
}

fn invalid(message: String) -> [Finding; 2] {
    [
        finding(READY, Some(false), reason::INVALID, message.clone()),
        finding(STALLED, Some(true), reason::INVALID, message),
    ]
}

fn status(
    findings: &[Finding],
    previous: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> WorkspaceTemplateStatus {
    WorkspaceTemplateStatus {
        observed_generation: generation,
        conditions: conditions(findings, previous, generation, now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn template(spec: &Value) -> WorkspaceTemplate {
        serde_json::from_value(json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "WorkspaceTemplate", "spec": spec,
            "metadata": {"name": "debian", "namespace": "dev", "generation": 3},
        }))
        .unwrap()
    }

    fn words(status: &WorkspaceTemplateStatus) -> Vec<(&str, &str, &str)> {
        status.conditions.iter().map(|c| (c.type_.as_str(), c.status.as_str(), c.reason.as_str())).collect()
    }

    #[test]
    fn a_template_is_ready_or_says_what_is_wrong() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let good = template_status(&template(&json!({"pod": {"image": "debian"}})), at(1));
        assert_eq!((words(&good), good.observed_generation), (vec![("Ready", "True", "Ready")], Some(3)));

        let image: String = (0..7).fold(String::new(), |image, number| image + &format!("$(parameters.p{number})"));
        let mut broken = template(&json!({"pod": {"image": image}}));
        let bad = template_status(&broken, at(2));
        assert_eq!(words(&bad), [("Ready", "False", "Invalid"), ("Stalled", "True", "Invalid")]);
        let message = &bad.conditions[0].message;
        assert!(
            message.contains("spec.pod.image: parameter \"p0\" does not exist; ") && message.ends_with("; and 2 more"),
            "{message}"
        );
        broken.status = Some(bad.clone());
        assert_eq!(template_status(&broken, at(3)), bad, "nothing new, nothing to write");
    }
}
