//! `OAuthAccount`: what the servers of an endpoint keep about one user of a GitHub or OpenID Connect login: the sealed token
//! with which they ask the provider again, and the provider's sessions that have ended. Servers write it.
//!
//! It is in the spec and not in the status: it cannot be observed again, and backups leave statuses out.

use crate::client::EndpointRef;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use portcullis_core::{
    account::{CheckLease, CheckedEvidence, ProviderRefusal, ProviderSession, SESSION_LIFETIME, SealedToken},
    grant::GrantUser,
};
use serde::{Deserialize, Serialize};

/// A user's account at an identity provider: the provider's token, and the provider sessions that have ended. Deleting
/// it deletes both.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::duplicated_attributes, reason = "each printcolumn has a type and a path of its own")]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "OAuthAccount",
    plural = "oauthaccounts",
    namespaced,
    shortname = "oaa",
    category = "portcullis",
    cel,
    derive = "PartialEq",
    selectable = ".spec.endpointRef.name",
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".spec.endpointRef.name"),
    printcolumn(name = "User", type_ = "string", json_path = ".spec.user.name"),
    printcolumn(name = "Signed-In", type_ = "date", json_path = ".spec.signedInAt"),
    printcolumn(name = "Checked", type_ = "date", json_path = ".spec.checkedAt"),
    printcolumn(name = "Refused", type_ = "string", json_path = ".spec.refused.reason"),
    printcolumn(name = "User-Id", type_ = "string", json_path = ".spec.user.id", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct OAuthAccountSpec {
    /// The endpoint, in the same namespace.
    #[x_kube(validation = Rule::new("self == oldSelf").message("cannot be changed"))]
    pub endpoint_ref: EndpointRef,
    /// The user.
    #[x_kube(validation = Rule::new("self.id == oldSelf.id").message("cannot be changed"))]
    pub user: GrantUser,
    /// The user's last sign-in; absent if the account was created by a logout message of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub signed_in_at: Option<Timestamp>,
    /// The provider's token, sealed with the endpoint's keys for this endpoint and user; absent if the provider issued
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16_384))]
    pub token: Option<SealedToken>,
    /// The last time the provider let the user in, at a sign-in or a recheck. Absent if the next refresh must recheck.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub checked_at: Option<Timestamp>,
    /// The server that uses the token now, since providers may accept a token only once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<CheckLease>,
    /// Set when the provider no longer lets the user in. Earlier sessions and grants end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<ProviderRefusal>,
    /// What the provider said when it was last asked again. Sessions from before count with it, not with their own sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_evidence: Option<CheckedEvidence>,
    /// An administrator ended the access of the user in the console: sessions and grants end whose user signed in before or
    /// in this second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub access_ends_before: Option<Timestamp>,
    /// Browser sessions that began before or in this second have ended: at the provider, or because the user signed out everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub sessions_end_before: Option<Timestamp>,
    /// The provider sessions of recent sign-ins, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub sessions: Vec<ProviderSession>,
}

impl OAuthAccountSpec {
    /// The time of the newest event that the account records.
    #[must_use]
    pub fn last_news(&self) -> Option<Timestamp> {
        let times = [self.signed_in_at, self.checked_at, self.refused.as_ref().map(|refused| refused.at)];
        let sessions = self.sessions.iter().map(|session| Some(session.at));
        times.into_iter().chain([self.sessions_end_before, self.access_ends_before]).chain(sessions).flatten().max()
    }

    /// Whether the account can be deleted: the user has no grant, and every earlier browser session has expired.
    #[must_use]
    pub fn is_over(&self, no_grants: bool, now: Timestamp) -> bool {
        no_grants && self.last_news().is_none_or(|last| now.duration_since(last) >= SESSION_LIFETIME)
    }
}
