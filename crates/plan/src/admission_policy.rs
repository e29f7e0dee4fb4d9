//! Checks that the cluster enforces the admission policies of `deploy/`, which restrict the servers. RBAC alone cannot
//! do this: it cannot restrict exec to certain pods, or writes by the content of the object.

use k8s_openapi::{
    api::admissionregistration::v1::{
        NamedRuleWithOperations, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

/// A policy of `deploy/`, which is delivered with a binding of the same name.
#[derive(Debug)]
pub struct DeliveredPolicy {
    /// The name of the policy and of its binding.
    pub name: &'static str,
    /// The requests that the policy must match.
    rule: Rule,
    /// The variables of the validations: names and expressions.
    variables: &'static [(&'static str, &'static str)],
    /// The required expressions of validations.
    validations: &'static [&'static str],
}

/// The requests that a policy must match.
#[derive(Debug)]
struct Rule {
    group: &'static str,
    version: &'static str,
    operations: &'static [&'static str],
    /// The policy must match at least one of these.
    resources: &'static [&'static str],
    description: &'static str,
}

/// The match condition of both policies: they apply to servers only.
const CONDITION: &str = "request.userInfo.username.matches('^system:serviceaccount:[^:]+:portcullis-server-')";

/// Restricts exec to workspaces. Without this policy, a server could exec into every pod of its namespace, so the
/// operator grants the permission to exec only while the policy is in force.
pub static EXEC_POLICY: DeliveredPolicy = DeliveredPolicy {
    name: "portcullis-exec",
    rule: Rule {
        group: "",
        version: "v1",
        operations: &["CONNECT"],
        resources: &["pods/exec", "pods/*", "*/*", "*/exec"],
        description: "matchConstraints must have a rule for CONNECT to pods/exec",
    },
    variables: &[],
    validations: &[
        "request.name.startsWith('workspace-')",
        "has(object.container) && object.container == 'workspace'",
        "has(object.command) && object.command == ['/run/portcullis/portcullis', 'agent', 'connect']",
    ],
};

/// Restricts the writes of a server to the objects of its own endpoint. Without this policy, the server of one endpoint
/// could write grants of every other endpoint of its namespace.
pub static SERVER_WRITES_POLICY: DeliveredPolicy = DeliveredPolicy {
    name: "portcullis-server-writes",
    rule: Rule {
        group: "portcullis.dev",
        version: "*",
        operations: &["CREATE", "UPDATE", "DELETE"],
        resources: &["*/*"],
        description: "matchConstraints must have a rule for CREATE, UPDATE and DELETE of */* of portcullis.dev",
    },
    variables: &[
        ("endpoint", "request.userInfo.username.split(':portcullis-server-', 2)[1]"),
        ("objects", "[object, oldObject].filter(one, one != null)"),
    ],
    validations: &[
        "request.userInfo.username.split(':')[2] == request.namespace",
        "variables.objects.all(one, has(one.spec) && has(one.spec.endpointRef) && one.spec.endpointRef.name == \
         variables.endpoint)",
        "variables.objects.all(one, !has(one.metadata.labels) || !('portcullis.dev/endpoint' in one.metadata.labels) || \
         one.metadata.labels['portcullis.dev/endpoint'] == variables.endpoint)",
        "request.resource.resource != 'oauthclients' || variables.objects.all(one, has(one.spec.registration) && \
         one.metadata.name.startsWith('dyn-') && has(one.spec.type) && one.spec.type == 'Public' && \
         has(one.spec.preset) && one.spec.preset == 'custom' && has(one.spec.grants) && \
         one.spec.grants.all(grant, grant in ['authorization_code', 'refresh_token']) && !has(one.spec.secret) && \
         !has(one.spec.existingSecret) && !has(one.spec.privateKeyJwt))",
    ],
};

/// Why the cluster does not enforce a policy as delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyProblem {
    /// The policy does not exist.
    #[error("ValidatingAdmissionPolicy {0:?} does not exist")]
    Missing(&'static str),
    /// The binding does not exist, without which the policy has no effect.
    #[error("ValidatingAdmissionPolicyBinding {0:?} does not exist")]
    NotBound(&'static str),
    /// The policy differs from the delivered one.
    #[error("ValidatingAdmissionPolicy {name:?} differs from the delivered one: {difference}")]
    PolicyChanged {
        /// The name of the policy.
        name: &'static str,
        /// The difference.
        difference: &'static str,
    },
    /// The binding differs from the delivered one.
    #[error("ValidatingAdmissionPolicyBinding {name:?} differs from the delivered one: {difference}")]
    BindingChanged {
        /// The name of the binding.
        name: &'static str,
        /// The difference.
        difference: &'static str,
    },
}

impl DeliveredPolicy {
    /// Checks the policy and the binding of this name that exist in the cluster.
    pub fn check(
        &self,
        policy: Option<&ValidatingAdmissionPolicy>,
        binding: Option<&ValidatingAdmissionPolicyBinding>,
    ) -> Result<(), PolicyProblem> {
        let name = self.name;
        let policy = policy.ok_or(PolicyProblem::Missing(name))?;
        self.check_policy(policy).map_err(|difference| PolicyProblem::PolicyChanged { name, difference })?;
        let binding = binding.ok_or(PolicyProblem::NotBound(name))?;
        self.check_binding(binding).map_err(|difference| PolicyProblem::BindingChanged { name, difference })
    }

    fn check_policy(&self, policy: &ValidatingAdmissionPolicy) -> Result<(), &'static str> {
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
        if !constraints.resource_rules.iter().flatten().any(|rule| self.rule.is_covered_by(rule)) {
            return Err(self.rule.description);
        }
        if spec.match_conditions.iter().flatten().any(|condition| condition.expression != CONDITION) {
            return Err("matchConditions must have the condition on portcullis-server- only");
        }
        let defines = |(name, expression): &(&str, &str)| {
            spec.variables.iter().flatten().any(|one| one.name == *name && one.expression == *expression)
        };
        if !self.variables.iter().all(defines) {
            return Err("a variable is missing");
        }
        let demands =
            |wanted: &&str| spec.validations.iter().flatten().any(|validation| validation.expression == *wanted);
        if !self.validations.iter().all(demands) {
            return Err("a validation is missing");
        }
        Ok(())
    }

    fn check_binding(&self, binding: &ValidatingAdmissionPolicyBinding) -> Result<(), &'static str> {
        let spec = binding.spec.as_ref().ok_or("it has no spec")?;
        if binding.metadata.deletion_timestamp.is_some() {
            return Err("it is being deleted");
        }
        if spec.policy_name.as_deref() != Some(self.name) {
            return Err("policyName must be the name of the binding");
        }
        if !spec.validation_actions.iter().flatten().any(|action| action == "Deny") {
            return Err("validationActions must include Deny");
        }
        if spec.match_resources.is_some() || spec.param_ref.is_some() {
            return Err("it must have no matchResources and no paramRef");
        }
        Ok(())
    }
}

impl Rule {
    fn is_covered_by(&self, rule: &NamedRuleWithOperations) -> bool {
        let has = |list: Option<&Vec<String>>, words: &[&str]| {
            list.into_iter().flatten().any(|word| word == "*" || words.contains(&word.as_str()))
        };
        has(rule.api_groups.as_ref(), &[self.group])
            && has(rule.api_versions.as_ref(), &[self.version])
            && self.operations.iter().all(|operation| has(rule.operations.as_ref(), &[operation]))
            && has(rule.resources.as_ref(), self.resources)
            && rule.resource_names.as_ref().is_none_or(Vec::is_empty)
            && rule.scope.as_deref().is_none_or(|scope| scope == "*" || scope == "Namespaced")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Each policy with the delivered policy and binding.
    fn delivered() -> [(&'static DeliveredPolicy, Value, Value); 2] {
        let files = [
            (&EXEC_POLICY, include_str!("../../../deploy/exec-policy.yaml")),
            (&SERVER_WRITES_POLICY, include_str!("../../../deploy/server-writes-policy.yaml")),
        ];
        files.map(|(policy, text)| {
            let all: Vec<Value> = serde_saphyr::from_str_multiple(text).unwrap();
            let [spec, binding] = all.try_into().unwrap();
            (policy, spec, binding)
        })
    }

    fn checked(wanted: &DeliveredPolicy, policy: &Value, binding: &Value) -> Result<(), PolicyProblem> {
        let policy: ValidatingAdmissionPolicy = serde_json::from_value(policy.clone()).unwrap();
        let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(binding.clone()).unwrap();
        wanted.check(Some(&policy), Some(&binding))
    }

    fn with(object: &Value, path: &str, value: Value) -> Value {
        let mut object = object.clone();
        let (parent, name) = path.rsplit_once('/').unwrap();
        match object.pointer_mut(path) {
            Some(field) => *field = value,
            None => object.pointer_mut(parent).unwrap()[name] = value,
        }
        object
    }

    #[test]
    fn the_policies_that_are_delivered_confine_and_weaker_ones_do_not() {
        for (wanted, policy, binding) in delivered() {
            assert_eq!(checked(wanted, &policy, &binding), Ok(()));
            // An API server sets these defaults.
            let stored = [
                ("/spec/matchConstraints/matchPolicy", json!("Equivalent")),
                ("/spec/matchConstraints/namespaceSelector", json!({})),
                ("/spec/matchConstraints/objectSelector", json!({})),
                ("/spec/matchConstraints/resourceRules/0/scope", json!("*")),
            ];
            let stored = stored.into_iter().fold(policy.clone(), |policy, (path, value)| with(&policy, path, value));
            assert_eq!(checked(wanted, &stored, &binding), Ok(()));

            let mut weaker = vec![
                ("/spec/failurePolicy".to_owned(), json!("Ignore"), "failurePolicy"),
                ("/spec/validations".to_owned(), json!([{"expression": "true"}]), "a validation is missing"),
                ("/spec/matchConditions/0/expression".to_owned(), json!("false"), "matchConditions"),
                ("/spec/matchConstraints/resourceRules/0/operations".to_owned(), json!(["PATCH"]), "a rule for"),
                ("/spec/matchConstraints/resourceRules/0/resources".to_owned(), json!(["pods/log"]), "a rule for"),
                ("/spec/matchConstraints/resourceRules/0/resourceNames".to_owned(), json!(["a"]), "a rule for"),
                (
                    "/spec/matchConstraints/namespaceSelector".to_owned(),
                    json!({"matchLabels": {"a": "b"}}),
                    "exclude nothing",
                ),
                ("/metadata/deletionTimestamp".to_owned(), json!("2026-01-01T00:00:00Z"), "being deleted"),
            ];
            weaker.extend((0..wanted.validations.len()).map(|index| {
                (format!("/spec/validations/{index}/expression"), json!("true"), "a validation is missing")
            }));
            weaker
                .extend((0..wanted.variables.len()).map(|index| {
                    (format!("/spec/variables/{index}/expression"), json!("[]"), "a variable is missing")
                }));
            for (path, value, says) in weaker {
                let problem = checked(wanted, &with(&stored, &path, value), &binding).unwrap_err().to_string();
                assert!(problem.contains(says) && problem.contains(wanted.name), "{path}: {problem}");
            }
            for (path, value, says) in [
                ("/spec/validationActions", json!(["Audit"]), "Deny"),
                ("/spec/policyName", json!("another"), "policyName"),
                ("/spec/matchResources", json!({"namespaceSelector": {"matchLabels": {"a": "b"}}}), "matchResources"),
            ] {
                let problem = checked(wanted, &policy, &with(&binding, path, value)).unwrap_err().to_string();
                assert!(problem.contains(says) && problem.contains(wanted.name), "{path}: {problem}");
            }
            assert_eq!(wanted.check(None, None), Err(PolicyProblem::Missing(wanted.name)));
            let policy = serde_json::from_value(policy).unwrap();
            assert_eq!(wanted.check(Some(&policy), None), Err(PolicyProblem::NotBound(wanted.name)));
        }
    }
}
