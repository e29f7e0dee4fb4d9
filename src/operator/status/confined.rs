//! The condition `ExecConfined`: whether servers may exec, which they may only while an admission policy confines it.

use super::{finding, reason};
use crate::{
    api::condition::{EXEC_CONFINED, Finding},
    plan::ExecPolicyProblem,
};

/// The condition.
pub(super) fn exec_confined(problem: Option<&ExecPolicyProblem>) -> Finding {
    let Some(problem) = problem else {
        let message = "ValidatingAdmissionPolicy \"portcullis-exec\" lets the servers exec into workspaces only";
        return finding(EXEC_CONFINED, Some(true), reason::EXEC_POLICY_IN_FORCE, message.to_owned());
    };
    let reason = match problem {
        ExecPolicyProblem::Missing | ExecPolicyProblem::NotBound => reason::EXEC_POLICY_MISSING,
        ExecPolicyProblem::PolicyChanged(_) | ExecPolicyProblem::BindingChanged(_) => reason::EXEC_POLICY_CHANGED,
    };
    let message = format!(
        "{problem}; without it a server could exec into every pod of the namespace, so the servers have no right to exec and \
         workspaces cannot be used: install it with the chart (execPolicy.install) or kubectl apply -f deploy/exec-policy.yaml"
    );
    finding(EXEC_CONFINED, Some(false), reason, message)
}
