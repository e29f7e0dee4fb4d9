//! The namespaces of the operator: all, or some. A watch covers all namespaces or one, so several namespaces need several
//! watches. [`WatchMerger`] merges their events: a kind is listed once it is listed in every namespace.

use crate::{cache::Cache, stores::Guarded};
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    core::v1,
    discovery::v1::EndpointSlice,
    networking::v1::IngressClass,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::{DynamicObject, NamespaceResourceScope, PartialObjectMeta},
    runtime::watcher::Event,
};
use std::{collections::BTreeSet, hash::Hash, mem};

/// The namespace of the API server's Service and EndpointSlice.
const API_SERVER_NAMESPACE: &str = "default";
/// The name of both.
pub const API_SERVER: &str = "kubernetes";

/// A kind that the operator watches.
pub trait Watched: Resource<DynamicType: Eq + Hash + Clone> + Clone + 'static {
    /// The objects in one namespace. `None`: the kind is not namespaced.
    fn within(namespace: &str, client: &Client, kind: &Self::DynamicType) -> Option<Api<Self>>;

    /// The objects of the cluster.
    fn everywhere(client: &Client, kind: &Self::DynamicType) -> Api<Self> {
        Api::all_with(client.clone(), kind)
    }
}

impl Watched for DynamicObject {
    fn within(namespace: &str, client: &Client, kind: &Self::DynamicType) -> Option<Api<Self>> {
        Some(Api::namespaced_with(client.clone(), namespace, kind))
    }
}

impl<K: Clone + 'static> Watched for Guarded<K>
where
    Self: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    fn within(namespace: &str, client: &Client, (): &()) -> Option<Api<Self>> {
        Some(Api::namespaced(client.clone(), namespace))
    }
}

impl Watched for v1::Event {
    fn within(namespace: &str, client: &Client, (): &()) -> Option<Api<Self>> {
        Some(Api::namespaced(client.clone(), namespace))
    }
}

/// Only the metadata is requested.
impl Watched for PartialObjectMeta<v1::Secret> {
    fn within(namespace: &str, client: &Client, (): &()) -> Option<Api<Self>> {
        Some(Api::namespaced(client.clone(), namespace))
    }
}

impl Watched for IngressClass {
    fn within(_: &str, _: &Client, (): &()) -> Option<Api<Self>> {
        None
    }
}

impl Watched for ValidatingAdmissionPolicy {
    fn within(_: &str, _: &Client, (): &()) -> Option<Api<Self>> {
        None
    }
}

impl Watched for ValidatingAdmissionPolicyBinding {
    fn within(_: &str, _: &Client, (): &()) -> Option<Api<Self>> {
        None
    }
}

/// Only the API server's own EndpointSlice is watched, whatever the operator's namespaces.
impl Watched for EndpointSlice {
    fn within(_: &str, _: &Client, (): &()) -> Option<Api<Self>> {
        None
    }

    fn everywhere(client: &Client, (): &()) -> Api<Self> {
        Api::namespaced(client.clone(), API_SERVER_NAMESPACE)
    }
}

/// The APIs to watch: in these namespaces, or in all if there are none.
pub fn apis<K: Watched>(namespaces: &[String], client: &Client, kind: &K::DynamicType) -> Vec<Api<K>> {
    let within: Option<Vec<_>> = namespaces.iter().map(|namespace| K::within(namespace, client, kind)).collect();
    within.filter(|apis| !apis.is_empty()).unwrap_or_else(|| vec![K::everywhere(client, kind)])
}

/// Merges the events of several watches into those of one.
#[derive(Debug)]
pub struct WatchMerger<K> {
    lists: Vec<List<K>>,
    /// Whether each has been listed once.
    complete: bool,
}

#[derive(Debug)]
struct List<K> {
    objects: Vec<K>,
    done: bool,
}

impl<K> WatchMerger<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    /// Merges this number of watches.
    #[must_use]
    pub fn of(watches: usize) -> Self {
        Self { lists: (0..watches).map(|_| List { objects: Vec::new(), done: false }).collect(), complete: false }
    }

    /// Translates an event of one watch for the cache, which holds the objects of all watches.
    pub fn take(&mut self, namespaces: &[String], from: usize, event: Event<K>, cache: &Cache<K>) -> Vec<Event<K>> {
        if self.lists.len() == 1 {
            return vec![event];
        }
        let list = &mut self.lists[from];
        match event {
            Event::Init => list.objects.clear(),
            Event::InitApply(object) => list.objects.push(object),
            Event::InitDone if self.complete => {
                return listed_again(&namespaces[from], mem::take(&mut list.objects), cache);
            }
            Event::InitDone => {
                list.done = true;
                self.complete = self.lists.iter().all(|list| list.done);
                if self.complete {
                    let objects = self.lists.iter_mut().flat_map(|list| mem::take(&mut list.objects));
                    let objects = objects.map(Event::InitApply);
                    return [Event::Init].into_iter().chain(objects).chain([Event::InitDone]).collect();
                }
            }
            other if self.complete => return vec![other],
            // While others are still being listed.
            Event::Apply(object) => {
                list.objects.retain(|listed| listed.name_any() != object.name_any());
                list.objects.push(object);
            }
            Event::Delete(object) => list.objects.retain(|listed| listed.name_any() != object.name_any()),
        }
        Vec::new()
    }
}

/// The events for a namespace that was listed again: its objects, and deletions of the others.
fn listed_again<K>(namespace: &str, objects: Vec<K>, cache: &Cache<K>) -> Vec<Event<K>>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    let there: BTreeSet<String> = objects.iter().map(kube::ResourceExt::name_any).collect();
    let gone =
        cache.select(|known| known.namespace().as_deref() == Some(namespace) && !there.contains(&known.name_any()));
    let gone: Vec<_> = gone.iter().map(|known| Event::Delete((**known).clone())).collect();
    objects.into_iter().map(Event::Apply).chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Change;
    use k8s_openapi::api::core::v1::ConfigMap;

    fn config_map(namespace: &str, name: &str, version: u64) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        object.metadata.namespace = Some(namespace.to_owned());
        object.metadata.resource_version = Some(version.to_string());
        object
    }

    struct MergerTest {
        namespaces: Vec<String>,
        merge: WatchMerger<ConfigMap>,
        cache: Cache<ConfigMap>,
    }

    impl MergerTest {
        fn of(namespaces: &[&str]) -> Self {
            let namespaces: Vec<String> = namespaces.iter().map(|&name| name.to_owned()).collect();
            Self { merge: WatchMerger::of(namespaces.len().max(1)), namespaces, cache: Cache::new((), |_| {}) }
        }

        /// The changes that the cache reports: names, or `*`.
        fn changes(&mut self, from: usize, event: Event<ConfigMap>) -> Vec<String> {
            let events = self.merge.take(&self.namespaces, from, event, &self.cache);
            let heard = events.into_iter().filter_map(|event| match self.cache.observe(event) {
                Change::None => None,
                Change::One(object) => Some(object.name_any()),
                Change::All => Some("*".to_owned()),
            });
            heard.collect()
        }

        fn held(&self) -> Vec<String> {
            let mut names: Vec<_> = self.cache.select(|_| true).iter().map(|object| object.name_any()).collect();
            names.sort();
            names
        }
    }

    #[test]
    fn nothing_counts_as_listed_before_every_namespace_is() {
        let mut merger = MergerTest::of(&["a", "b"]);
        let quiet = [
            (0, Event::Init),
            (1, Event::Init),
            (0, Event::InitApply(config_map("a", "one", 1))),
            (0, Event::InitApply(config_map("a", "two", 2))),
            (0, Event::InitDone),
            (1, Event::InitApply(config_map("b", "lost", 3))),
            // A list that broke off begins anew.
            (1, Event::Init),
            (1, Event::InitApply(config_map("b", "three", 4))),
            // What happens in the meantime to what was listed.
            (0, Event::Delete(config_map("a", "one", 5))),
            (0, Event::Apply(config_map("a", "two", 6))),
            (0, Event::Apply(config_map("a", "four", 7))),
        ];
        for (from, event) in quiet {
            assert_eq!(merger.changes(from, event), Vec::<String>::new());
            assert_eq!(merger.held(), Vec::<String>::new());
        }
        assert_eq!(merger.changes(1, Event::InitDone), ["*"]);
        assert_eq!(merger.held(), ["four", "three", "two"]);
        let two = merger.cache.get("a", "two").and_then(|two| two.resource_version());
        assert_eq!(two.as_deref(), Some("6"));
        assert_eq!(merger.changes(1, Event::Apply(config_map("b", "five", 8))), ["five"]);
    }

    #[test]
    fn a_namespace_that_is_listed_again_tells_what_came_changed_and_went() {
        let mut merger = MergerTest::of(&["a", "b"]);
        for (from, namespace) in [(0, "a"), (1, "b")] {
            merger.changes(from, Event::Init);
            merger.changes(from, Event::InitApply(config_map(namespace, &format!("{namespace}-same"), 1)));
            merger.changes(from, Event::InitApply(config_map(namespace, &format!("{namespace}-gone"), 2)));
            merger.changes(from, Event::InitDone);
        }
        merger.changes(0, Event::Init);
        merger.changes(0, Event::InitApply(config_map("a", "a-same", 1)));
        assert_eq!(merger.changes(0, Event::InitApply(config_map("a", "a-new", 3))), Vec::<String>::new());
        assert_eq!(merger.changes(0, Event::InitDone), ["a-new", "a-gone"]);
        assert_eq!(merger.held(), ["a-new", "a-same", "b-gone", "b-same"]);
    }

    #[test]
    fn one_watch_is_passed_on_as_it_is() {
        let mut merger = MergerTest::of(&[]);
        merger.changes(0, Event::Init);
        merger.changes(0, Event::InitApply(config_map("a", "one", 1)));
        assert_eq!(merger.changes(0, Event::InitDone), ["*"]);
        assert_eq!(merger.held(), ["one"]);
    }
}
