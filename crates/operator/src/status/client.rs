//! The conditions and the status of a client.

use crate::status::{Blocker, finding, reason};
use jiff::Timestamp;
use portcullis_api::{
    OAuthClient, OAuthClientStatus,
    condition::{CREDENTIALS_LOADED, Finding, READY, conditions},
};
use portcullis_plan::{ClientPlan, ClientProblem, ROTATE_ANNOTATION};

/// The status of a planned client. `loaded` is the endpoint's `CredentialsLoaded`.
#[must_use]
pub fn client_status(client: &OAuthClient, plan: &ClientPlan, loaded: &Finding, now: Timestamp) -> OAuthClientStatus {
    let findings = if let Some(problem) = &plan.problem {
        let (reason, message) = (problem_reason(problem), problem.to_string());
        [READY, CREDENTIALS_LOADED].map(|kind| finding(kind, Some(false), reason, message.clone()))
    } else if loaded.holds == Some(true) {
        let message = format!("the client can obtain tokens{}", idle_request(client, plan));
        let ready = finding(READY, Some(true), reason::READY, message);
        [ready, loaded.clone()]
    } else {
        [Finding { kind: READY, ..loaded.clone() }, loaded.clone()]
    };
    OAuthClientStatus {
        client_id: Some(plan.client_id.clone()),
        secret_name: plan.secret_name.clone(),
        rotated_at: plan.rotated_at,
        next_rotation: plan.next_rotation,
        rotated_for: plan.rotated_for.clone(),
        ..client_conditions(client, &findings, now)
    }
}

/// The note on a request for a rotation of a secret that the operator does not generate.
fn idle_request(client: &OAuthClient, plan: &ClientPlan) -> String {
    let is_asked = client.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(ROTATE_ANNOTATION));
    if is_asked && plan.rotated_for.is_none() {
        format!("; the annotation {ROTATE_ANNOTATION} has no effect, since the operator does not generate its secret")
    } else {
        String::new()
    }
}

/// The status of a dynamically registered client.
#[must_use]
pub fn registered_status(client: &OAuthClient, active_grants: i32, now: Timestamp) -> OAuthClientStatus {
    let message = "the client registered itself, and may request consent".to_owned();
    let ready = finding(READY, Some(true), reason::REGISTERED, message);
    OAuthClientStatus {
        client_id: client.metadata.name.clone(),
        active_grants,
        ..client_conditions(client, &[ready], now)
    }
}

/// The status of a client whose endpoint is missing or cannot be planned: the previous status, and the reason.
#[must_use]
pub fn stranded_status(client: &OAuthClient, blocker: &Blocker, now: Timestamp) -> OAuthClientStatus {
    let findings =
        [READY, CREDENTIALS_LOADED].map(|kind| finding(kind, Some(false), blocker.reason, blocker.message.clone()));
    let OAuthClientStatus { observed_generation, conditions, .. } = client_conditions(client, &findings, now);
    OAuthClientStatus { observed_generation, conditions, ..client.status.clone().unwrap_or_default() }
}

fn client_conditions(client: &OAuthClient, findings: &[Finding], now: Timestamp) -> OAuthClientStatus {
    let previous = client.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let generation = client.metadata.generation;
    OAuthClientStatus {
        observed_generation: generation,
        conditions: conditions(findings, previous, generation, now),
        ..OAuthClientStatus::default()
    }
}

fn problem_reason(problem: &ClientProblem) -> &'static str {
    match problem {
        ClientProblem::SecretNotFound { .. } => reason::SECRET_NOT_FOUND,
        ClientProblem::SecretKeyMissing { .. } => reason::SECRET_KEY_MISSING,
        ClientProblem::SecretTooShort { .. } => reason::SECRET_TOO_SHORT,
        ClientProblem::SecretNameTaken { .. } => reason::NAME_TAKEN,
        ClientProblem::ExternalIssuer { .. } => reason::EXTERNAL_ISSUER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_client_follows_its_problem_or_the_servers() {
        let client: OAuthClient = serde_json::from_value(json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthClient",
            "metadata": {"name": "robot", "generation": 3},
            "spec": {"endpointRef": {"name": "agents"}, "grants": ["client_credentials"], "scopes": ["workspaces:read"]},
        }))
        .unwrap();
        let plan = ClientPlan {
            name: "robot".to_owned(),
            client_id: "robot".to_owned(),
            secret_name: Some("robot-oauth".to_owned()),
            rotated_at: None,
            next_rotation: None,
            rotated_for: None,
            problem: None,
            change: None,
        };
        let missing = ClientProblem::SecretNotFound { secret: "s".to_owned(), endpoint: "agents".to_owned() };
        let loaded = |holds| {
            finding(
                CREDENTIALS_LOADED,
                Some(holds),
                if holds { reason::LOADED } else { reason::LOADING },
                String::new(),
            )
        };
        let rows = [
            (None, true, ("True", reason::READY), ("True", reason::LOADED)),
            (None, false, ("False", reason::LOADING), ("False", reason::LOADING)),
            (Some(missing), true, ("False", reason::SECRET_NOT_FOUND), ("False", reason::SECRET_NOT_FOUND)),
        ];
        for (problem, holds, ready, credentials) in rows {
            let plan = ClientPlan { problem, ..plan.clone() };
            let status = client_status(&client, &plan, &loaded(holds), Timestamp::UNIX_EPOCH);
            let found: Vec<_> = status.conditions.iter().map(|c| (c.status.as_str(), c.reason.as_str())).collect();
            assert_eq!(found, [ready, credentials]);
            assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(3)));
            assert_eq!((status.observed_generation, status.secret_name.as_deref()), (Some(3), Some("robot-oauth")));
        }

        // A request to rotate what the operator did not make.
        let mut asking = client;
        let said = |client: &OAuthClient, rotated_for: Option<&str>| {
            let plan = ClientPlan { rotated_for: rotated_for.map(ToOwned::to_owned), ..plan.clone() };
            let status = client_status(client, &plan, &loaded(true), Timestamp::UNIX_EPOCH);
            status.conditions[0].message.contains("portcullis.dev/rotate has no effect")
        };
        assert!(!said(&asking, None));
        asking.metadata.annotations = Some([(ROTATE_ANNOTATION.to_owned(), "1".to_owned())].into());
        assert!(said(&asking, None) && !said(&asking, Some("1")));
    }
}
