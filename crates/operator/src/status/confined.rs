//! The conditions `ExecConfined` and `WritesConfined`: whether admission policies confine the servers, which may exec only
//! while the policy for exec is in force.

use crate::status::{finding, reason};
use portcullis_api::condition::{EXEC_CONFINED, Finding, WRITES_CONFINED};
use portcullis_plan::PolicyProblem;

/// The condition on exec.
pub(super) fn exec_confined(problem: Option<&PolicyProblem>) -> Finding {
    let Some(problem) = problem else {
        let message = "ValidatingAdmissionPolicy \"portcullis-exec\" lets the servers exec into workspaces only";
        return finding(EXEC_CONFINED, Some(true), reason::EXEC_POLICY_IN_FORCE, message.to_owned());
    };
    let reason = if is_missing(problem) { reason::EXEC_POLICY_MISSING } else { reason::EXEC_POLICY_CHANGED };
    let message = format!(
        "{problem}; without it a server could exec into every pod of the namespace, so the servers have no right to exec and \
         workspaces cannot be used: install it with the chart (execPolicy.install) or kubectl apply -f deploy/exec-policy.yaml"
    );
    finding(EXEC_CONFINED, Some(false), reason, message)
}

/// The condition on writes.
pub(super) fn writes_confined(problem: Option<&PolicyProblem>) -> Finding {
    let Some(problem) = problem else {
        let message = "ValidatingAdmissionPolicy \"portcullis-server-writes\" lets the servers write objects of this endpoint only";
        return finding(WRITES_CONFINED, Some(true), reason::WRITES_POLICY_IN_FORCE, message.to_owned());
    };
    let reason = if is_missing(problem) { reason::WRITES_POLICY_MISSING } else { reason::WRITES_POLICY_CHANGED };
    let message = format!(
        "{problem}; without it a server could write grants, clients and workspaces of the other endpoints of the namespace: \
         install it with the chart (serverWritesPolicy.install) or kubectl apply -f deploy/server-writes-policy.yaml"
    );
    finding(WRITES_CONFINED, Some(false), reason, message)
}

fn is_missing(problem: &PolicyProblem) -> bool {
    matches!(problem, PolicyProblem::Missing(_) | PolicyProblem::NotBound(_))
}
