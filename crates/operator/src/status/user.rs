//! The condition of an `OAuthUser`: whether every grant that it ends is marked as revoked.

use crate::status::{finding, reason};
use jiff::Timestamp;
use portcullis_api::{
    McpEndpoint, OAuthGrant, OAuthUser, OAuthUserSpec, OAuthUserStatus,
    condition::{ENDED, Finding, conditions},
};

/// The prefix of users of an external issuer.
const EXTERNAL: &str = "external";

/// The status of an `OAuthUser`. `grants` are all of its user's at that endpoint; `endpoint` is `None` if there is none.
#[must_use]
pub fn user_status(
    user: &OAuthUser,
    endpoint: Option<&McpEndpoint>,
    grants: &[&OAuthGrant],
    now: Timestamp,
) -> OAuthUserStatus {
    let found = ended(&user.spec, endpoint, grants, now);
    let previous = user.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    status(found, previous, user.metadata.generation, now)
}

/// The status of an unreadable `OAuthUser`.
#[must_use]
pub fn unreadable_user_status(error: &str, generation: Option<i64>, now: Timestamp) -> OAuthUserStatus {
    let message = format!(
        "the manifest cannot be read, so servers treat its user as disabled: {error}; correct it, or update the CRDs, the \
         operator and the servers to the same version"
    );
    status(finding(ENDED, Some(false), reason::INVALID, message), &[], generation, now)
}

fn status(
    found: Finding,
    previous: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> OAuthUserStatus {
    OAuthUserStatus { observed_generation: generation, conditions: conditions(&[found], previous, generation, now) }
}

fn ended(spec: &OAuthUserSpec, endpoint: Option<&McpEndpoint>, grants: &[&OAuthGrant], now: Timestamp) -> Finding {
    let found = |holds, reason, message| finding(ENDED, Some(holds), reason, message);
    let (user, name) = (&spec.user.id, &spec.endpoint_ref.name);
    let Some(endpoint) = endpoint else {
        let message = format!(
            "there is no McpEndpoint {name:?} in this namespace; delete this OAuthUser and make one for the right endpoint"
        );
        return found(false, reason::ENDPOINT_NOT_FOUND, message);
    };
    let login = user.split(':').next().unwrap_or_default();
    let external = endpoint.spec.external_issuer.is_some();
    let logins: Vec<&str> = endpoint.spec.login.iter().map(|login| login.name.as_str()).collect();
    if external && login == EXTERNAL {
        let message = format!(
            "servers refuse the tokens of {user:?}; sign-in and sessions are the external issuer's, so disable the user there too"
        );
        return found(true, reason::EXTERNAL_ISSUER, message);
    }
    if external || !logins.contains(&login) {
        let known = if external { EXTERNAL.to_owned() } else { logins.join(", ") };
        let known = if known.is_empty() { "none".to_owned() } else { known };
        let message = format!(
            "no user of McpEndpoint {name:?} has the id {user:?}: the part before the colon must be the name of a login, \
             and the endpoint's logins are: {known}; delete this OAuthUser and make one with the right id"
        );
        return found(false, reason::LOGIN_NOT_FOUND, message);
    }
    let ends: Vec<_> = grants.iter().filter(|grant| spec.ends(grant.began())).collect();
    let marked = ends.iter().filter(|grant| grant.spec.revoked.is_some()).count();
    let left = ends.iter().filter(|grant| grant.spec.revoked.is_none() && now < grant.spec.expires_at).count();
    if left > 0 {
        let message = format!(
            "{left} grants of {user:?} are not revoked yet; a server of McpEndpoint {name:?} revokes them when it sees this \
             OAuthUser, so check that one runs"
        );
        found(false, reason::GRANTS_LEFT, message)
    } else if marked > 0 {
        found(true, reason::GRANTS_REVOKED, format!("all grants that had to end are revoked: {marked} of {user:?}"))
    } else {
        let message = format!(
            "no grant of {user:?} has to end; if you expected some, compare the id with those of `kubectl get oag -o wide`"
        );
        found(true, reason::NO_GRANTS, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Spec, endpoint, grants; then the status and the reason of the condition.
    type Row<'a> = (&'a Value, Option<&'a McpEndpoint>, Vec<&'a OAuthGrant>, &'a str, &'a str);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn object<K: serde::de::DeserializeOwned>(kind: &str, spec: &Value) -> K {
        let metadata = json!({"name": "x", "namespace": "dev", "generation": 2, "creationTimestamp": at(100)});
        let object = json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec});
        serde_json::from_value(object).unwrap()
    }

    fn grant(signed_in: Option<i64>, revoked: bool, expires: i64) -> OAuthGrant {
        let mut spec = json!({
            "endpointRef": {"name": "agents"}, "clientId": "claude", "user": {"id": "local:ann", "name": "ann"},
            "scopes": ["files:read"], "resource": "https://h.example/mcp", "expiresAt": at(expires),
        });
        if let Some(signed_in) = signed_in {
            spec["signedInAt"] = json!(at(signed_in));
        }
        if revoked {
            spec["revoked"] = json!({"at": at(120), "reason": "UserDisabled"});
        }
        object("OAuthGrant", &spec)
    }

    #[test]
    fn the_condition_says_what_is_left() {
        let login = json!([{"name": "local", "passwords": {"secretRef": {"name": "users"}}}]);
        let here: McpEndpoint = object("McpEndpoint", &json!({"url": "https://h.example/mcp", "login": login}));
        let external = json!({"issuerUrl": "https://idp.example"});
        let elsewhere: McpEndpoint =
            object("McpEndpoint", &json!({"url": "https://h.example/mcp", "externalIssuer": external}));
        let disabled = |id: &str| json!({"endpointRef": {"name": "agents"}, "user": {"id": id}, "disabled": true});
        let ann = disabled("local:ann");
        let from_90 = json!({"endpointRef": {"name": "agents"}, "user": {"id": "local:ann"}, "notBefore": at(90)});
        let (open, marked) = (grant(Some(80), false, 900), grant(Some(80), true, 900));
        let (later, expired, old) = (grant(Some(95), false, 900), grant(Some(80), false, 150), grant(None, false, 900));
        let rows: [Row<'_>; 9] = [
            (&ann, None, vec![], "False", reason::ENDPOINT_NOT_FOUND),
            (&disabled("locul:ann"), Some(&here), vec![], "False", reason::LOGIN_NOT_FOUND),
            (&disabled("local:ann"), Some(&elsewhere), vec![], "False", reason::LOGIN_NOT_FOUND),
            (&disabled("external:ann"), Some(&elsewhere), vec![], "True", reason::EXTERNAL_ISSUER),
            (&ann, Some(&here), vec![], "True", reason::NO_GRANTS),
            (&ann, Some(&here), vec![&open, &marked], "False", reason::GRANTS_LEFT),
            (&ann, Some(&here), vec![&marked, &expired], "True", reason::GRANTS_REVOKED),
            (&from_90, Some(&here), vec![&later, &expired], "True", reason::NO_GRANTS),
            // Its code was made at 40 at the earliest.
            (&from_90, Some(&here), vec![&old], "False", reason::GRANTS_LEFT),
        ];
        for (spec, endpoint, grants, holds, reason) in rows {
            let user: OAuthUser = object("OAuthUser", spec);
            let status = user_status(&user, endpoint, &grants, at(200));
            let condition = &status.conditions[0];
            assert_eq!(
                (condition.status.as_str(), condition.reason.as_str()),
                (holds, reason),
                "{spec}: {condition:?}"
            );
            assert_eq!((status.observed_generation, condition.observed_generation), (Some(2), Some(2)));
            let again = OAuthUser { status: Some(status.clone()), ..user };
            assert_eq!(user_status(&again, endpoint, &grants, at(201)), status, "nothing to write");
        }
    }
}
