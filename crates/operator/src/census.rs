//! Which grants and registrations have ended, and how many grants count. Pure: what was observed and the time in, what
//! is to be deleted out.
//!
//! A grant ends with its client and with its endpoint. One from before its client went ends at once. One that came later,
//! or whose client was never seen, waits a while: a restore from backup may bring the grants first.

use crate::world::Guarded;
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

/// How long a parent that is gone is remembered.
const FORGET: SignedDuration = SignedDuration::from_hours(1);
/// How long one waits for a client or an endpoint that is yet to come.
const WAIT_FOR_PARENT: SignedDuration = SignedDuration::from_mins(1);

/// Namespace and name.
pub type Name = (String, String);

/// What was observed.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// All endpoints.
    pub endpoints: Vec<Arc<Guarded<McpEndpoint>>>,
    /// All clients, configured and registered.
    pub clients: Vec<Arc<Guarded<OAuthClient>>>,
    /// All grants.
    pub grants: Vec<Arc<Guarded<OAuthGrant>>>,
}

/// Why something is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its time is over.
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

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "it has expired",
            Self::Revoked => "it was revoked a while ago",
            Self::ClientGone => "its client is gone",
            Self::EndpointGone => "its endpoint is gone",
            Self::Unneeded => "nothing needs it",
        })
    }
}

/// What comes out.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Grants to delete.
    pub grants: Vec<(Arc<Guarded<OAuthGrant>>, End)>,
    /// Registered clients to delete.
    pub clients: Vec<(Arc<Guarded<OAuthClient>>, End)>,
    /// How many grants count.
    pub active: ActiveGrants,
    /// When something ends that has not ended yet, if nothing changes before.
    pub next: Option<Timestamp>,
}

impl Outcome {
    fn ends_at(&mut self, time: Option<Timestamp>) {
        let Some(time) = time else { return };
        self.next = Some(self.next.map_or(time, |next| next.min(time)));
    }
}

/// How many grants count, of each endpoint and of each client. What is not there has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActiveGrants {
    /// By endpoint.
    pub of_endpoints: BTreeMap<Name, i32>,
    /// By client.
    pub of_clients: BTreeMap<Name, i32>,
}

/// What is remembered from one count to the next. All of it can be lost: then what is gone is waited for a while.
#[derive(Debug, Default)]
pub struct Census {
    endpoints: Lineage,
    clients: Lineage,
    /// Since when a grant or a client has been without a parent.
    orphans: HashMap<String, Timestamp>,
}

/// The parents that there were, by name.
#[derive(Debug, Default)]
struct Lineage(BTreeMap<Name, Seen>);

/// A parent that there is or was.
#[derive(Debug)]
struct Seen {
    uid: String,
    /// When it was there the last time.
    last: Timestamp,
    /// When it, or the one of its name before it, was found to be gone.
    ended: Option<Timestamp>,
}

/// An object that may be a parent.
struct Parent<'a> {
    uid: String,
    created_at: Option<Timestamp>,
    /// The endpoint that a client names, if it can be read.
    endpoint: Option<&'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parentage {
    Present,
    /// It was there, and is gone or replaced.
    Lost,
    /// It may be yet to come.
    Awaited,
}

impl Lineage {
    fn take(&mut self, present: &BTreeMap<Name, Parent<'_>>, now: Timestamp) {
        for (name, seen) in &mut self.0 {
            let there = present.get(name).is_some_and(|parent| parent.uid == seen.uid);
            if !there && seen.ended.is_none_or(|ended| ended <= seen.last) {
                seen.ended = Some(now);
            }
        }
        for (name, parent) in present {
            let ended = self.0.get(name).and_then(|seen| seen.ended);
            self.0.insert(name.clone(), Seen { uid: parent.uid.clone(), last: now, ended });
        }
        // Looks can be far apart, so a parent that is missing now may have been there until a moment ago.
        self.0
            .retain(|_, seen| now.duration_since(seen.ended.map_or(seen.last, |ended| ended.max(seen.last))) < FORGET);
    }

    fn parentage(
        &self,
        present: &BTreeMap<Name, Parent<'_>>,
        child: &ObjectMeta,
        name: &Name,
        fits: bool,
    ) -> Parentage {
        let born = child.creation_timestamp.as_ref().map(|time| time.0);
        let outlives = self.0.get(name).is_some_and(|seen| born < seen.ended);
        match present.get(name).filter(|_| fits) {
            Some(parent) if outlives && born < parent.created_at => Parentage::Lost,
            Some(_) => Parentage::Present,
            None if outlives => Parentage::Lost,
            None => Parentage::Awaited,
        }
    }
}

impl Census {
    /// Counts.
    pub fn take(&mut self, observed: &Observed, now: Timestamp) -> Outcome {
        let endpoints: BTreeMap<Name, Parent<'_>> =
            observed.endpoints.iter().map(|endpoint| (name_of(&**endpoint), parent(&**endpoint, None))).collect();
        let clients: BTreeMap<Name, Parent<'_>> = observed
            .clients
            .iter()
            .map(|client| {
                let endpoint = client.0.as_ref().ok().map(|client| client.spec.endpoint_ref.name.as_str());
                (name_of(&**client), parent(&**client, endpoint))
            })
            .collect();
        self.endpoints.take(&endpoints, now);
        self.clients.take(&clients, now);

        let mut outcome = Outcome::default();
        let mut orphans = HashMap::new();
        let mut bereft = |kind: &str, name: &Name, parentage: Parentage, gone: End| match parentage {
            Parentage::Present => None,
            Parentage::Lost => Some(gone),
            Parentage::Awaited => {
                let key = format!("{kind} {}/{}", name.0, name.1);
                let since = *self.orphans.get(&key).unwrap_or(&now);
                orphans.insert(key, since);
                (now.duration_since(since) >= WAIT_FOR_PARENT).then_some(gone)
            }
        };
        for client in alive(&observed.clients) {
            let Ok(readable) = &client.0 else { continue };
            let Some(registration) = &readable.spec.registration else { continue };
            let name = name_of(&**client);
            let endpoint = (name.0.clone(), readable.spec.endpoint_ref.name.clone());
            let parentage = self.endpoints.parentage(&endpoints, client.meta(), &endpoint, true);
            let end = (registration.expires_at <= now).then_some(End::Expired);
            let end = end.or_else(|| bereft("client", &name, parentage, End::EndpointGone));
            if end.is_none() {
                outcome.ends_at(Some(registration.expires_at));
            }
            outcome.clients.extend(end.map(|end| (Arc::clone(client), end)));
        }
        for grant in alive(&observed.grants) {
            // One that cannot be read was written by a newer version; servers of this one do not count it either.
            let Ok(OAuthGrant { spec, .. }) = &grant.0 else { continue };
            let name = name_of(&**grant);
            let endpoint = (name.0.clone(), spec.endpoint_ref.name.clone());
            let client = (name.0.clone(), spec.client_id.clone());
            let of_endpoint = self.endpoints.parentage(&endpoints, grant.meta(), &endpoint, true);
            let fits = clients.get(&client).is_some_and(|it| it.endpoint.is_none_or(|named| named == endpoint.1));
            // A client that is described by a document of its own has a URL as its id, and no object.
            let of_client = if spec.client_id.contains(':') {
                Parentage::Present
            } else {
                self.clients.parentage(&clients, grant.meta(), &client, fits)
            };
            let end = over(spec, now)
                .or_else(|| bereft("grant", &name, of_endpoint, End::EndpointGone))
                .or_else(|| bereft("grant", &name, of_client, End::ClientGone));
            if end.is_none() {
                outcome.ends_at(Some(spec.expires_at));
                if let Some(revoked) = &spec.revoked {
                    outcome.ends_at(revoked.at.checked_add(KEEP_REVOKED).ok());
                }
            }
            if let Some(end) = end {
                outcome.grants.push((Arc::clone(grant), end));
            } else if spec.revoked.is_none() {
                *outcome.active.of_endpoints.entry(endpoint).or_default() += 1;
                *outcome.active.of_clients.entry(client).or_default() += 1;
            }
        }
        for since in orphans.values() {
            outcome.ends_at(since.checked_add(WAIT_FOR_PARENT).ok());
        }
        self.orphans = orphans;
        outcome
    }
}

fn alive<K: Resource>(objects: &[Arc<K>]) -> impl Iterator<Item = &Arc<K>> {
    objects.iter().filter(|object| object.meta().deletion_timestamp.is_none())
}

fn over(spec: &OAuthGrantSpec, now: Timestamp) -> Option<End> {
    let revoked = spec.revoked.as_ref().is_some_and(|revoked| revoked.is_old(now));
    if spec.expires_at <= now { Some(End::Expired) } else { revoked.then_some(End::Revoked) }
}

fn name_of<K: Resource>(object: &K) -> Name {
    let metadata = object.meta();
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn parent<'a, K: Resource>(object: &K, endpoint: Option<&'a str>) -> Parent<'a> {
    let metadata = object.meta();
    Parent {
        uid: metadata.uid.clone().unwrap_or_default(),
        created_at: metadata.creation_timestamp.as_ref().map(|time| time.0),
        endpoint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::ResourceExt as _;
    use serde_json::{Value, json};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn object<K: serde::de::DeserializeOwned>(kind: &str, name: &str, uid: &str, created: i64, spec: &Value) -> Arc<K> {
        let value = json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": kind, "spec": spec,
            "metadata": {"name": name, "namespace": "dev", "uid": uid, "creationTimestamp": at(created)},
        });
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn endpoint(uid: &str) -> Arc<Guarded<McpEndpoint>> {
        object("McpEndpoint", "agents", uid, 0, &json!({"url": "https://mcp.example.com/mcp"}))
    }

    fn client(name: &str, uid: &str, created: i64, registered_until: Option<i64>) -> Arc<Guarded<OAuthClient>> {
        let mut spec = json!({"endpointRef": {"name": "agents"}, "scopes": ["files:read"]});
        if let Some(until) = registered_until {
            spec["registration"] = json!({"expiresAt": at(until)});
        }
        object("OAuthClient", name, uid, created, &spec)
    }

    fn grant(name: &str, client: &str, created: i64, more: &Value) -> Arc<Guarded<OAuthGrant>> {
        let mut spec = json!({
            "endpointRef": {"name": "agents"}, "clientId": client, "user": {"id": "local:ann", "name": "ann"},
            "scopes": ["files:read"], "resource": "https://mcp.example.com/mcp", "expiresAt": at(100_000),
        });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        object("OAuthGrant", name, name, created, &spec)
    }

    fn ends(outcome: &Outcome) -> Vec<(String, End)> {
        let grants = outcome.grants.iter().map(|(grant, end)| (grant.name_any(), *end));
        let clients = outcome.clients.iter().map(|(client, end)| (client.name_any(), *end));
        grants.chain(clients).collect()
    }

    fn ended(name: &str, end: End) -> (String, End) {
        (name.to_owned(), end)
    }

    #[test]
    fn a_client_that_goes_after_a_long_rest_takes_its_grants_along() {
        let mut census = Census::default();
        let clients = vec![client("claude", "c", 0, None)];
        let grants = vec![grant("a", "claude", 1, &json!({}))];
        let mut observed = Observed { endpoints: vec![endpoint("e")], clients, grants };
        assert_eq!(ends(&census.take(&observed, at(10))), []);
        observed.clients.clear();
        assert_eq!(ends(&census.take(&observed, at(10_000))), [ended("a", End::ClientGone)]);
    }

    #[test]
    fn the_next_look_is_when_the_next_object_ends() {
        let next = |grants: Vec<Arc<Guarded<OAuthGrant>>>, registered_until: i64| {
            let clients = vec![client("claude", "c", 0, None), client("dyn-1", "d", 0, Some(registered_until))];
            Census::default().take(&Observed { endpoints: vec![endpoint("e")], clients, grants }, at(1000)).next
        };
        let revoked = json!({"revoked": {"at": at(500), "reason": "ByUser"}});
        assert_eq!(next(vec![], 9000), Some(at(9000)), "a registration");
        assert_eq!(next(vec![grant("a", "claude", 1, &json!({"expiresAt": at(7000)}))], 9000), Some(at(7000)));
        assert_eq!(next(vec![grant("a", "claude", 1, &revoked)], 9000), Some(at(500 + 3600)));
        assert_eq!(next(vec![grant("a", "gone", 1, &json!({}))], 9000), Some(at(1060)), "a client may come");
        let expired = vec![grant("a", "claude", 1, &json!({"expiresAt": at(999)}))];
        assert_eq!(next(expired, 9000), Some(at(9000)), "what has ended is collected now");
    }

    #[test]
    fn what_has_ended_is_named_and_the_rest_is_counted() {
        let revoked = |at_second: i64| json!({"revoked": {"at": at(at_second), "reason": "ByUser"}});
        let observed = Observed {
            endpoints: vec![endpoint("e")],
            clients: vec![
                client("claude", "c", 0, None),
                client("dyn-1", "d", 0, Some(5000)),
                client("dyn-2", "f", 0, Some(9000)),
            ],
            grants: vec![
                grant("active", "claude", 1, &json!({})),
                grant("by-document", "https://claude.ai/client.json", 1, &json!({})),
                grant("expired", "claude", 1, &json!({"expiresAt": at(5000)})),
                grant("revoked", "claude", 1, &revoked(4000)),
                grant("revoked-long-ago", "claude", 1, &revoked(1400)),
            ],
        };
        let outcome = Census::default().take(&observed, at(5000));
        let expected =
            [ended("expired", End::Expired), ended("revoked-long-ago", End::Revoked), ended("dyn-1", End::Expired)];
        assert_eq!(ends(&outcome), expected);
        let name = |name: &str| ("dev".to_owned(), name.to_owned());
        assert_eq!(outcome.active.of_endpoints, [(name("agents"), 2)].into());
        assert_eq!(outcome.active.of_clients, [(name("claude"), 1), (name("https://claude.ai/client.json"), 1)].into());
    }

    #[test]
    fn a_grant_ends_with_its_client_and_with_its_endpoint() {
        let grants = vec![grant("g", "claude", 10, &json!({}))];
        let all = |endpoint: Vec<_>, client: Vec<_>| Observed {
            endpoints: endpoint,
            clients: client,
            grants: grants.clone(),
        };
        let whole = all(vec![endpoint("e")], vec![client("claude", "c", 0, None)]);

        let mut census = Census::default();
        assert!(ends(&census.take(&whole, at(20))).is_empty());
        let gone = census.take(&all(vec![endpoint("e")], vec![]), at(25));
        assert_eq!(ends(&gone), [ended("g", End::ClientGone)]);

        let mut census = Census::default();
        census.take(&whole, at(20));
        let replaced = census.take(&all(vec![endpoint("e")], vec![client("claude", "c2", 24, None)]), at(25));
        assert_eq!(ends(&replaced), [ended("g", End::ClientGone)], "it was for another client of that name");

        let mut census = Census::default();
        census.take(&whole, at(20));
        let gone = census.take(&all(vec![], vec![client("claude", "c", 0, None)]), at(25));
        assert_eq!(ends(&gone), [ended("g", End::EndpointGone)]);
    }

    #[test]
    fn a_restored_grant_waits_for_its_parents() {
        let grants = vec![grant("g", "claude", 10, &json!({}))];
        let mut census = Census::default();
        let alone = Observed { grants: grants.clone(), ..Observed::default() };
        assert!(ends(&census.take(&alone, at(20))).is_empty());
        assert!(ends(&census.take(&alone, at(79))).is_empty());
        assert_eq!(ends(&census.take(&alone, at(80))), [ended("g", End::EndpointGone)]);
        // Restored a little later, and so with a later birth than the grant's.
        let whole = Observed { endpoints: vec![endpoint("e")], clients: vec![client("claude", "c", 79, None)], grants };
        assert!(ends(&census.take(&whole, at(80))).is_empty());
    }

    #[test]
    fn a_grant_that_comes_after_its_parents_went_waits_for_them_too() {
        let whole = |created: i64, uid: &str| Observed {
            endpoints: vec![object(
                "McpEndpoint",
                "agents",
                uid,
                created,
                &json!({"url": "https://mcp.example.com/mcp"}),
            )],
            clients: vec![client("claude", uid, created, None)],
            grants: vec![],
        };
        let with = |observed: &Observed, born: i64| Observed {
            grants: vec![grant("g", "claude", born, &json!({}))],
            ..observed.clone()
        };
        let mut census = Census::default();
        for (round, uid) in [(0, "one"), (100, "two")] {
            let first = whole(round, uid);
            assert!(ends(&census.take(&with(&first, round + 5), at(round + 10))).is_empty());
            // A restore into the same namespace: the same operator saw everything go.
            assert!(ends(&census.take(&Observed::default(), at(round + 20))).is_empty());
            let alone = with(&Observed::default(), round + 25);
            assert!(ends(&census.take(&alone, at(round + 26))).is_empty());
            assert!(ends(&census.take(&alone, at(round + 40))).is_empty());
            let restored = with(&whole(round + 45, &format!("{uid} again")), round + 25);
            assert!(ends(&census.take(&restored, at(round + 46))).is_empty());
            assert!(ends(&census.take(&restored, at(round + 56))).is_empty());
            // What was not deleted with the others is from before.
            let left = with(&whole(round + 45, &format!("{uid} again")), round + 5);
            assert_eq!(ends(&census.take(&left, at(round + 60))), [ended("g", End::EndpointGone)]);
        }
    }
}
