//! Whether the admission policy is in force that confines the servers' exec to workspaces. Without it a server could exec
//! into every pod of its namespace, so it gets the right only while the policy is there.

use k8s_openapi::{
    api::admissionregistration::v1::{
        NamedRuleWithOperations, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

/// The name of the policy and of its binding.
pub const EXEC_POLICY: &str = "portcullis-exec";

/// Those for whom it counts.
const CONDITION: &str = "request.userInfo.username.matches('^system:serviceaccount:[^:]+:portcullis-server-')";
/// What it demands.
const VALIDATIONS: [&str; 3] = [
    "request.name.startsWith('workspace-')",
    "has(object.container) && object.container == 'workspace'",
    "has(object.command) && object.command == ['/run/portcullis/portcullis', 'agent', 'connect']",
];

/// Why the policy does not confine the servers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecPolicyProblem {
    /// There is none.
    #[error("ValidatingAdmissionPolicy \"portcullis-exec\" does not exist")]
    Missing,
    /// Nothing puts it in force.
    #[error("ValidatingAdmissionPolicyBinding \"portcullis-exec\" does not exist")]
    NotBound,
    /// The policy is another one.
    #[error("ValidatingAdmissionPolicy \"portcullis-exec\" is not as it is delivered: {0}")]
    PolicyChanged(&'static str),
    /// The binding is another one.
    #[error("ValidatingAdmissionPolicyBinding \"portcullis-exec\" is not as it is delivered: {0}")]
    BindingChanged(&'static str),
}

/// Checks what the cluster has.
pub fn check(
    policy: Option<&ValidatingAdmissionPolicy>,
    binding: Option<&ValidatingAdmissionPolicyBinding>,
) -> Result<(), ExecPolicyProblem> {
    let policy = policy.ok_or(ExecPolicyProblem::Missing)?;
    check_policy(policy).map_err(ExecPolicyProblem::PolicyChanged)?;
    let binding = binding.ok_or(ExecPolicyProblem::NotBound)?;
    check_binding(binding).map_err(ExecPolicyProblem::BindingChanged)
}

fn check_policy(policy: &ValidatingAdmissionPolicy) -> Result<(), &'static str> {
    let spec = policy.spec.as_ref().ok_or("it has no spec")?;
    if policy.metadata.deletion_timestamp.is_some() {
        return Err("it is being deleted");
    }
    if spec.failure_policy.as_deref().is_some_and(|word| word != "Fail") {
        return Err("failurePolicy must be Fail");
    }
    if spec.param_kind.is_some() {
        return Err("it must have no paramKind");
    }
    let constraints = spec.match_constraints.as_ref().ok_or("it has no matchConstraints")?;
    let selects = |selector: Option<&LabelSelector>| {
        selector.is_some_and(|selector| {
            selector.match_labels.as_ref().is_some_and(|labels| !labels.is_empty())
                || selector.match_expressions.as_ref().is_some_and(|expressions| !expressions.is_empty())
        })
    };
    if selects(constraints.namespace_selector.as_ref())
        || selects(constraints.object_selector.as_ref())
        || constraints.exclude_resource_rules.as_ref().is_some_and(|rules| !rules.is_empty())
    {
        return Err("matchConstraints must exclude nothing");
    }
    if !constraints.resource_rules.iter().flatten().any(is_about_exec) {
        return Err("matchConstraints must have a rule for CONNECT to pods/exec");
    }
    if spec.match_conditions.iter().flatten().any(|condition| condition.expression != CONDITION) {
        return Err("matchConditions must have the condition on portcullis-server- only");
    }
    let demands = |wanted: &&str| spec.validations.iter().flatten().any(|validation| validation.expression == *wanted);
    if !VALIDATIONS.iter().all(demands) {
        return Err("a validation is missing");
    }
    Ok(())
}

fn is_about_exec(rule: &NamedRuleWithOperations) -> bool {
    let has = |list: Option<&Vec<String>>, words: &[&str]| {
        list.into_iter().flatten().any(|word| word == "*" || words.contains(&word.as_str()))
    };
    has(rule.api_groups.as_ref(), &[""])
        && has(rule.api_versions.as_ref(), &["v1"])
        && has(rule.operations.as_ref(), &["CONNECT"])
        && has(rule.resources.as_ref(), &["pods/exec", "pods/*", "*/*", "*/exec"])
        && rule.resource_names.as_ref().is_none_or(Vec::is_empty)
        && rule.scope.as_deref().is_none_or(|scope| scope == "*" || scope == "Namespaced")
}

fn check_binding(binding: &ValidatingAdmissionPolicyBinding) -> Result<(), &'static str> {
    let spec = binding.spec.as_ref().ok_or("it has no spec")?;
    if binding.metadata.deletion_timestamp.is_some() {
        return Err("it is being deleted");
    }
    if spec.policy_name.as_deref() != Some(EXEC_POLICY) {
        return Err("policyName must be portcullis-exec");
    }
    if !spec.validation_actions.iter().flatten().any(|action| action == "Deny") {
        return Err("validationActions must include Deny");
    }
    if spec.match_resources.is_some() || spec.param_ref.is_some() {
        return Err("it must have no matchResources and no paramRef");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// The policy and the binding that are delivered.
    fn delivered() -> [Value; 2] {
        let all: Vec<Value> = serde_saphyr::from_str_multiple(include_str!("../../deploy/exec-policy.yaml")).unwrap();
        all.try_into().unwrap()
    }

    fn checked(policy: &Value, binding: &Value) -> Result<(), ExecPolicyProblem> {
        let policy: ValidatingAdmissionPolicy = serde_json::from_value(policy.clone()).unwrap();
        let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(binding.clone()).unwrap();
        check(Some(&policy), Some(&binding))
    }

    #[test]
    fn the_policy_that_is_delivered_confines_and_a_weaker_one_does_not() {
        let [policy, binding] = delivered();
        assert_eq!(checked(&policy, &binding), Ok(()));
        let mut stored = policy.clone();
        // As an API server fills it in.
        for (path, value) in [
            ("/spec/matchConstraints/matchPolicy", json!("Equivalent")),
            ("/spec/matchConstraints/namespaceSelector", json!({})),
            ("/spec/matchConstraints/objectSelector", json!({})),
            ("/spec/matchConstraints/resourceRules/0/scope", json!("*")),
        ] {
            let (parent, name) = path.rsplit_once('/').unwrap();
            stored.pointer_mut(parent).unwrap()[name] = value;
        }
        assert_eq!(checked(&stored, &binding), Ok(()));

        for (path, value, says) in [
            ("/spec/failurePolicy", json!("Ignore"), "failurePolicy"),
            ("/spec/validations", json!([{"expression": "true"}]), "a validation is missing"),
            ("/spec/validations/2/expression", json!("true"), "a validation is missing"),
            ("/spec/matchConditions/0/expression", json!("false"), "matchConditions"),
            ("/spec/matchConstraints/resourceRules/0/operations", json!(["CREATE"]), "CONNECT"),
            ("/spec/matchConstraints/resourceRules/0/resources", json!(["pods/log"]), "pods/exec"),
            ("/spec/matchConstraints/resourceRules/0/resourceNames", json!(["a"]), "pods/exec"),
            ("/spec/matchConstraints/namespaceSelector", json!({"matchLabels": {"a": "b"}}), "exclude nothing"),
            ("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"), "being deleted"),
        ] {
            let mut weaker = stored.clone();
            if let Some(field) = weaker.pointer_mut(path) {
                *field = value;
            } else {
                let (parent, name) = path.rsplit_once('/').unwrap();
                weaker.pointer_mut(parent).unwrap()[name] = value;
            }
            let problem = checked(&weaker, &binding).unwrap_err();
            assert!(problem.to_string().contains(says), "{path}: {problem}");
        }
        for (path, value, says) in [
            ("/spec/validationActions", json!(["Audit"]), "Deny"),
            ("/spec/policyName", json!("another"), "policyName"),
            ("/spec/matchResources", json!({"namespaceSelector": {"matchLabels": {"a": "b"}}}), "matchResources"),
        ] {
            let mut weaker = binding.clone();
            weaker.pointer_mut("/spec").unwrap()[path.rsplit_once('/').unwrap().1] = value;
            let problem = checked(&policy, &weaker).unwrap_err();
            assert!(problem.to_string().contains(says), "{path}: {problem}");
        }
        assert_eq!(check(None, None), Err(ExecPolicyProblem::Missing));
        let policy = serde_json::from_value(policy).unwrap();
        assert_eq!(check(Some(&policy), None), Err(ExecPolicyProblem::NotBound));
    }
}
