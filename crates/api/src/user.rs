//! `OAuthUser`: ends the access of one user of an endpoint, or disables the user there. People write it; servers follow it
//! and refuse, and the operator reports what is left to end.

use crate::client::EndpointRef;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Ends the access of one user of an endpoint (`notBefore`), or disables the user there (`disabled`). If several
/// objects name the same user, the strictest applies.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::duplicated_attributes, reason = "each printcolumn has a type and a path of its own")]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "OAuthUser",
    plural = "oauthusers",
    namespaced,
    status = "OAuthUserStatus",
    shortname = "oau",
    category = "portcullis",
    cel,
    derive = "PartialEq",
    selectable = ".spec.endpointRef.name",
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".spec.endpointRef.name"),
    printcolumn(name = "User", type_ = "string", json_path = ".spec.user.id"),
    printcolumn(name = "Disabled", type_ = "boolean", json_path = ".spec.disabled"),
    printcolumn(name = "Not-Before", type_ = "string", json_path = ".spec.notBefore"),
    printcolumn(name = "Ended", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ended")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ended")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = Rule::new("!oldSelf.disabled || self.disabled || (has(self.notBefore) && (!has(oldSelf.notBefore) || timestamp(self.notBefore) > timestamp(oldSelf.notBefore)))")
        .message("to enable the user again, set notBefore to the present time together with disabled: false, so that sessions from before stay ended"),
    validation = Rule::new("self.disabled || has(self.notBefore)")
        .message("must have notBefore, disabled: true, or both; to lift both, delete the OAuthUser")
)]
#[serde(rename_all = "camelCase")]
pub struct OAuthUserSpec {
    /// The endpoint, in the same namespace.
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("cannot be changed; make a new OAuthUser for the other endpoint"))]
    pub endpoint_ref: EndpointRef,
    /// The user.
    #[x_kube(validation = Rule::new("self == oldSelf").message("cannot be changed; make a new OAuthUser for the other user"))]
    pub user: UserRef,
    /// Ends every session and grant that began before or in this second. The user may sign in again afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub not_before: Option<Timestamp>,
    /// Ends every session and grant, and refuses sign-in.
    #[serde(default)]
    pub disabled: bool,
}

impl OAuthUserSpec {
    /// Whether it ends what began at `since`. `notBefore` includes its whole second: `date` and Kubernetes cut fractions
    /// off, and what began earlier in that second must end.
    #[must_use]
    pub fn ends(&self, since: Timestamp) -> bool {
        self.disabled || self.not_before.is_some_and(|bound| since.as_second() <= bound.as_second())
    }
}

/// A reference to a user of an endpoint.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRef {
    /// The name of the login and the user's id there, such as `local:ann`; `kubectl get oag -o wide` shows the ids of
    /// users. Compared exactly.
    #[schemars(length(min = 3, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([a-z0-9-]*[a-z0-9])?:.+$')")
        .message("must be LOGIN:ID, the name of a login of the endpoint and the user's id there, such as local:ann; kubectl get oag -o wide shows the ids of users"))]
    pub id: String,
}

/// The state that the operator observed.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OAuthUserStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ended`: whether every grant that must end is marked as revoked.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}
