//! `OAuthGrant`: one consent of one user to one client. Servers write it; people read it, and delete it to take the
//! consent back.
//!
//! What the refresh token is held against stands in the spec and not in the status: it cannot be observed again, and
//! backups leave statuses out.

use crate::client::EndpointRef;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use portcullis_core::Scope;
use portcullis_core::grant::{GrantUser, LoginEvidence, RefreshState, RevocationReason};
use serde::{Deserialize, Serialize};

/// A user's consent to a client. Deleting it ends the client's access at once, on every server.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::duplicated_attributes, reason = "each printcolumn has a type and a path of its own")]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "OAuthGrant",
    plural = "oauthgrants",
    namespaced,
    status = "OAuthGrantStatus",
    shortname = "oag",
    category = "portcullis",
    cel,
    derive = "PartialEq",
    selectable = ".spec.endpointRef.name",
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".spec.endpointRef.name"),
    printcolumn(name = "Client", type_ = "string", json_path = ".spec.clientId"),
    printcolumn(name = "User", type_ = "string", json_path = ".spec.user.name"),
    printcolumn(name = "Scopes", type_ = "string", json_path = ".spec.scopes"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Last-Used", type_ = "date", json_path = ".status.lastUsed"),
    printcolumn(name = "User-Id", type_ = "string", json_path = ".spec.user.id", priority = 1),
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expiresAt", priority = 1),
    printcolumn(name = "Revoked", type_ = "string", json_path = ".spec.revoked.reason")
)]
#[serde(rename_all = "camelCase")]
pub struct OAuthGrantSpec {
    /// The endpoint, in the same namespace.
    #[x_kube(validation = Rule::new("self == oldSelf").message("cannot be changed"))]
    pub endpoint_ref: EndpointRef,
    /// The client: the name of an `OAuthClient`, or the URL of its metadata document.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("cannot be changed"))]
    pub client_id: String,
    /// The user who consented.
    #[x_kube(validation = Rule::new("self.id == oldSelf.id").message("cannot be changed"))]
    pub user: GrantUser,
    /// The scopes of the consent.
    #[schemars(length(min = 1, max = 6))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub scopes: Vec<Scope>,
    /// The resource that the tokens are for (RFC 8707).
    #[schemars(length(min = 1, max = 512))]
    pub resource: String,
    /// The expiry of the grant, regardless of its use.
    #[schemars(with = "Time")]
    pub expires_at: Timestamp,
    /// The start of the session in which the user consented. `notBefore` of an `OAuthUser` is compared with it. Absent
    /// in grants of older servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub signed_in_at: Option<Timestamp>,
    /// The current refresh token; absent if the client has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<RefreshState>,
    /// Why the user was let in. Absent in grants of older servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<LoginEvidence>,
    /// Set when the grant is revoked. The grant is deleted some time later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revocation>,
}

/// The maximum age of an authorization code when its grant is created.
const REDEEMED_WITHIN: SignedDuration = SignedDuration::from_secs(60);

impl OAuthGrant {
    /// The beginning of the access: the user's sign-in, otherwise the earliest time at which its code can have been
    /// issued.
    #[must_use]
    pub fn began(&self) -> Timestamp {
        let earliest = || {
            let created = self.metadata.creation_timestamp.as_ref()?.0;
            created.checked_sub(REDEEMED_WITHIN).ok()
        };
        self.spec.signed_in_at.or_else(earliest).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// Why and when a grant was revoked.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// The time of the revocation.
    #[schemars(with = "Time")]
    pub at: Timestamp,
    /// The reason.
    pub reason: RevocationReason,
}

/// How long a revoked grant is kept, so that people see why it ended.
pub const KEEP_REVOKED: SignedDuration = SignedDuration::from_hours(1);

impl Revocation {
    /// Whether the grant was revoked so long ago that it is deleted.
    #[must_use]
    pub fn is_old(&self, now: Timestamp) -> bool {
        now.duration_since(self.at) >= KEEP_REVOKED
    }
}

/// The state that the servers observed.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OAuthGrantStatus {
    /// The last use of the grant, accurate to a few minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub last_used: Option<Timestamp>,
}
