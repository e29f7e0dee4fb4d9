//! Decides which grants and registrations have ended, and counts the active grants. Pure: observations and the time in,
//! deletions out.
//!
//! A grant ends with its client and with its endpoint. A grant that is older than the deletion of its client ends at
//! once. A newer one, or one whose client was never seen, is kept for a while: a restore from a backup may create the
//! grants first.

use crate::stores::Guarded;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use portcullis_api::{
    McpEndpoint, OAuthClient, OAuthGrant,
    grant::{KEEP_REVOKED, OAuthGrantSpec},
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

/// How long a deleted owner is remembered.
const FORGET_OWNER_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// How long a grant is kept while its client or endpoint does not exist yet.
const WAIT_FOR_OWNER: SignedDuration = SignedDuration::from_mins(1);

/// Namespace and name.
pub type NamespacedName = (String, String);

/// The objects to decide about.
#[derive(Clone, Debug, Default)]
pub struct ObservedGrants {
    /// All endpoints.
    pub endpoints: Vec<Arc<Guarded<McpEndpoint>>>,
    /// All clients, configured and registered.
    pub clients: Vec<Arc<Guarded<OAuthClient>>>,
    /// All grants.
    pub grants: Vec<Arc<Guarded<OAuthGrant>>>,
}

/// Why something is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// It has expired.
    Expired,
    /// It was revoked a while ago.
    Revoked,
    /// Its client is gone.
    ClientGone,
    /// Its endpoint is gone.
    EndpointGone,
    /// Nothing needs it.
    Unneeded,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "it has expired",
            Self::Revoked => "it was revoked some time ago",
            Self::ClientGone => "its client was deleted",
            Self::EndpointGone => "its endpoint was deleted",
            Self::Unneeded => "nothing needs it",
        })
    }
}

/// The result.
#[derive(Debug, Default)]
pub struct Decisions {
    /// Grants to delete.
    pub grants: Vec<(Arc<Guarded<OAuthGrant>>, EndReason)>,
    /// Registered clients to delete.
    pub clients: Vec<(Arc<Guarded<OAuthClient>>, EndReason)>,
    /// The numbers of active grants.
    pub active: ActiveGrants,
    /// When the next object ends, if nothing changes before.
    pub next: Option<Timestamp>,
}

impl Decisions {
    fn ends_at(&mut self, time: Option<Timestamp>) {
        let Some(time) = time else { return };
        self.next = Some(self.next.map_or(time, |next| next.min(time)));
    }
}

/// The number of active grants of each endpoint and of each client. A missing entry is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActiveGrants {
    /// By endpoint.
    pub of_endpoints: BTreeMap<NamespacedName, i32>,
    /// By client.
    pub of_clients: BTreeMap<NamespacedName, i32>,
}

/// The state between two runs. It can be lost: then orphans are kept for [`WAIT_FOR_OWNER`].
#[derive(Debug, Default)]
pub struct GarbageCollector {
    endpoints: OwnerTracker,
    clients: OwnerTracker,
    /// When a grant or a client was first seen without an owner.
    orphans: HashMap<String, Timestamp>,
}

/// The owners that exist or existed, by name.
#[derive(Debug, Default)]
struct OwnerTracker(BTreeMap<NamespacedName, SeenOwner>);

/// An owner that exists or existed.
#[derive(Debug)]
struct SeenOwner {
    uid: String,
    /// When it was last seen.
    last: Timestamp,
    /// When it, or an earlier one of the same name, was found to be deleted.
    ended: Option<Timestamp>,
}

/// An object that may be an owner.
struct Owner<'a> {
    uid: String,
    created_at: Option<Timestamp>,
    /// The endpoint that a client names, if it can be read.
    endpoint: Option<&'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnerState {
    Present,
    /// It was deleted or replaced.
    Lost,
    /// It may not exist yet.
    Awaited,
}

impl OwnerTracker {
    fn update(&mut self, present: &BTreeMap<NamespacedName, Owner<'_>>, now: Timestamp) {
        for (name, seen) in &mut self.0 {
            let there = present.get(name).is_some_and(|owner| owner.uid == seen.uid);
            if !there && seen.ended.is_none_or(|ended| ended <= seen.last) {
                seen.ended = Some(now);
            }
        }
        for (name, owner) in present {
            let ended = self.0.get(name).and_then(|seen| seen.ended);
            self.0.insert(name.clone(), SeenOwner { uid: owner.uid.clone(), last: now, ended });
        }
        // Runs can be far apart, so an owner that is missing now may have existed until a moment ago.
        self.0.retain(|_, seen| {
            now.duration_since(seen.ended.map_or(seen.last, |ended| ended.max(seen.last))) < FORGET_OWNER_AFTER
        });
    }

    fn owner_state(
        &self,
        present: &BTreeMap<NamespacedName, Owner<'_>>,
        child: &ObjectMeta,
        name: &NamespacedName,
        fits: bool,
    ) -> OwnerState {
        let born = child.creation_timestamp.as_ref().map(|time| time.0);
        let outlived_by_child = self.0.get(name).is_some_and(|seen| born < seen.ended);
        match present.get(name).filter(|_| fits) {
            Some(owner) if outlived_by_child && born < owner.created_at => OwnerState::Lost,
            Some(_) => OwnerState::Present,
            None if outlived_by_child => OwnerState::Lost,
            None => OwnerState::Awaited,
        }
    }
}

impl GarbageCollector {
    /// Decides what to delete, and counts the active grants.
    pub fn decide(&mut self, observed: &ObservedGrants, now: Timestamp) -> Decisions {
        let endpoints: BTreeMap<NamespacedName, Owner<'_>> =
            observed.endpoints.iter().map(|endpoint| (name_of(&**endpoint), owner(&**endpoint, None))).collect();
        let clients: BTreeMap<NamespacedName, Owner<'_>> = observed
            .clients
            .iter()
            .map(|client| {
                let endpoint = client.0.as_ref().ok().map(|client| client.spec.endpoint_ref.name.as_str());
                (name_of(&**client), owner(&**client, endpoint))
            })
            .collect();
        self.endpoints.update(&endpoints, now);
        self.clients.update(&clients, now);

        let mut decisions = Decisions::default();
        let mut orphans = HashMap::new();
        let mut end_without_owner =
            |kind: &str, name: &NamespacedName, owner_state: OwnerState, gone: EndReason| match owner_state {
                OwnerState::Present => None,
                OwnerState::Lost => Some(gone),
                OwnerState::Awaited => {
                    let key = format!("{kind} {}/{}", name.0, name.1);
                    let since = *self.orphans.get(&key).unwrap_or(&now);
                    orphans.insert(key, since);
                    (now.duration_since(since) >= WAIT_FOR_OWNER).then_some(gone)
                }
            };
        for client in alive(&observed.clients) {
            let Ok(readable) = &client.0 else { continue };
            let Some(registration) = &readable.spec.registration else { continue };
            let name = name_of(&**client);
            let endpoint = (name.0.clone(), readable.spec.endpoint_ref.name.clone());
            let owner_state = self.endpoints.owner_state(&endpoints, client.meta(), &endpoint, true);
            let end = (registration.expires_at <= now).then_some(EndReason::Expired);
            let end = end.or_else(|| end_without_owner("client", &name, owner_state, EndReason::EndpointGone));
            if end.is_none() {
                decisions.ends_at(Some(registration.expires_at));
            }
            decisions.clients.extend(end.map(|end| (Arc::clone(client), end)));
        }
        for grant in alive(&observed.grants) {
            // An unreadable grant was written by a newer version; servers of this version ignore it too.
            let Ok(OAuthGrant { spec, .. }) = &grant.0 else { continue };
            let name = name_of(&**grant);
            let endpoint = (name.0.clone(), spec.endpoint_ref.name.clone());
            let client = (name.0.clone(), spec.client_id.clone());
            let of_endpoint = self.endpoints.owner_state(&endpoints, grant.meta(), &endpoint, true);
            let fits = clients.get(&client).is_some_and(|it| it.endpoint.is_none_or(|named| named == endpoint.1));
            // A client with a metadata document has a URL as its id, and no object.
            let of_client = if spec.client_id.contains(':') {
                OwnerState::Present
            } else {
                self.clients.owner_state(&clients, grant.meta(), &client, fits)
            };
            let end = expired_or_revoked(spec, now)
                .or_else(|| end_without_owner("grant", &name, of_endpoint, EndReason::EndpointGone))
                .or_else(|| end_without_owner("grant", &name, of_client, EndReason::ClientGone));
            if end.is_none() {
                decisions.ends_at(Some(spec.expires_at));
                if let Some(revoked) = &spec.revoked {
                    decisions.ends_at(revoked.at.checked_add(KEEP_REVOKED).ok());
                }
            }
            if let Some(end) = end {
                decisions.grants.push((Arc::clone(grant), end));
            } else if spec.revoked.is_none() {
                *decisions.active.of_endpoints.entry(endpoint).or_default() += 1;
                *decisions.active.of_clients.entry(client).or_default() += 1;
            }
        }
        for since in orphans.values() {
            decisions.ends_at(since.checked_add(WAIT_FOR_OWNER).ok());
        }
        self.orphans = orphans;
        decisions
    }
}

fn alive<K: Resource>(objects: &[Arc<K>]) -> impl Iterator<Item = &Arc<K>> {
    objects.iter().filter(|object| object.meta().deletion_timestamp.is_none())
}

fn expired_or_revoked(spec: &OAuthGrantSpec, now: Timestamp) -> Option<EndReason> {
    let revoked = spec.revoked.as_ref().is_some_and(|revoked| revoked.is_old(now));
    if spec.expires_at <= now { Some(EndReason::Expired) } else { revoked.then_some(EndReason::Revoked) }
}

fn name_of<K: Resource>(object: &K) -> NamespacedName {
    let metadata = object.meta();
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn owner<'a, K: Resource>(object: &K, endpoint: Option<&'a str>) -> Owner<'a> {
    let metadata = object.meta();
    Owner {
        uid: metadata.uid.clone().unwrap_or_default(),
        created_at: metadata.creation_timestamp.as_ref().map(|time| time.0),
        endpoint,
    }
}

#[cfg(test)]
mod tests;
