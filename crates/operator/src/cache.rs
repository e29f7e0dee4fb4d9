//! The objects of one kind: a kube-runtime store that is never older than the operator's own writes.
//!
//! A watch reports a write with a delay. A reconcile in between would see the old object, and write it again. So
//! responses to writes go into the store too, and older events are dropped. `resourceVersion`s are compared as numbers,
//! which Kubernetes guarantees since 1.35 (KEP-5504) and did in practice before.

use kube::{
    Resource, ResourceExt as _,
    runtime::{
        reflector::{
            ObjectRef,
            store::{Store, Writer, WriterDropped},
        },
        watcher::Event,
    },
};
use portcullis_api::version::resource_version;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

/// The objects of one kind.
pub struct Cache<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    writer: Mutex<Writer<K>>,
    reader: Store<K>,
    kind: K::DynamicType,
    strip: fn(&mut K),
    group: fn(&K) -> Option<String>,
    /// The objects of each group, by namespace and group.
    groups: RwLock<Groups<K>>,
    /// The newest version that the watch reported, for each namespace.
    ///
    /// A watch reports the changes of a namespace in order. So an object that is older and not in the store was deleted,
    /// and a late response to a write must not bring it back: no further event would remove it.
    newest: Mutex<HashMap<String, u64>>,
}

/// The source of an object.
#[derive(Clone, Copy, Debug)]
enum Source {
    Watch,
    /// The response to a request of the operator's own. It may arrive after the watch has reported later changes.
    Response,
}

type Groups<K> = HashMap<(String, String), HashSet<ObjectRef<K>>>;

/// The effect of a watch event.
#[derive(Debug)]
pub enum Change<K> {
    /// The event changed nothing.
    None,
    /// One object was created, changed or deleted.
    One(K),
    /// The list was read again: everything may have changed.
    All,
}

impl<K> Cache<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    /// An empty cache. `strip` removes the fields that are never read from every object.
    #[must_use]
    pub fn new(kind: K::DynamicType, strip: fn(&mut K)) -> Self {
        let writer = Writer::new(kind.clone());
        let (reader, groups) = (writer.as_reader(), RwLock::new(HashMap::new()));
        let newest = Mutex::default();
        Self { reader, writer: Mutex::new(writer), kind, strip, group: |_| None, groups, newest }
    }

    /// Keeps the objects in groups, so that [`Self::group`] does not search all of them.
    #[must_use]
    pub fn grouped_by(self, group: fn(&K) -> Option<String>) -> Self {
        Self { group, ..self }
    }

    /// Applies an event of the watch.
    pub fn observe(&self, event: Event<K>) -> Change<K> {
        self.apply(event, Source::Watch)
    }

    /// Applies the API server's response to a write or to a live read.
    pub fn learn(&self, object: K) {
        drop(self.apply(Event::Apply(object), Source::Response));
    }

    fn apply(&self, mut event: Event<K>, source: Source) -> Change<K> {
        match &mut event {
            Event::Apply(object) | Event::InitApply(object) => (self.strip)(object),
            Event::Delete(_) | Event::Init | Event::InitDone => {}
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let version = |object: &K| resource_version(object).ok();
        let known = |object: &K| self.reader.get(&self.reference(object)).as_deref().and_then(version);
        let stale = match &event {
            Event::Apply(object) => {
                let deleted_at = || matches!(source, Source::Response).then(|| self.newest(object)).flatten();
                known(object).or_else(deleted_at).is_some_and(|known| version(object).is_some_and(|new| new <= known))
            }
            Event::Delete(object) => known(object).is_some_and(|known| version(object).is_some_and(|new| new < known)),
            Event::Init | Event::InitApply(_) | Event::InitDone => false,
        };
        if let (Event::Apply(object) | Event::Delete(object), Source::Watch) = (&event, source) {
            self.reported(object);
        }
        if stale {
            return Change::None;
        }
        // Locked during both changes: a plan must never miss an object that exists.
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        match &event {
            Event::Apply(object) | Event::Delete(object) => self.leave(&mut groups, &self.reference(object)),
            Event::Init | Event::InitApply(_) | Event::InitDone => {}
        }
        writer.apply_watcher_event(&event);
        match &event {
            Event::Apply(object) => self.enter(&mut groups, object),
            Event::InitDone => {
                groups.clear();
                for object in self.reader.state() {
                    self.enter(&mut groups, &object);
                    self.reported(&object);
                }
            }
            Event::Delete(_) | Event::Init | Event::InitApply(_) => {}
        }
        drop(groups);
        match event {
            Event::Apply(object) | Event::Delete(object) => Change::One(object),
            Event::Init | Event::InitApply(_) => Change::None,
            Event::InitDone => Change::All,
        }
    }

    /// Completes once the kind has been listed.
    pub async fn ready(&self) -> Result<(), WriterDropped> {
        self.reader.wait_until_ready().await
    }

    /// The object with this name.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.reader.get(&ObjectRef::new_with(name, self.kind.clone()).within(namespace))
    }

    /// Every object that meets the condition.
    #[must_use]
    pub fn select(&self, condition: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        self.reader.state_filter(condition)
    }

    /// The objects of a group.
    #[must_use]
    pub fn group(&self, namespace: &str, group: &str) -> Vec<Arc<K>> {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        let members = groups.get(&(namespace.to_owned(), group.to_owned()));
        members.into_iter().flatten().filter_map(|member| self.reader.get(member)).collect()
    }

    /// The objects that carry this label, by which they are grouped.
    #[must_use]
    pub fn labelled(&self, namespace: &str, (label, value): (&str, &str)) -> Vec<Arc<K>> {
        let mut labelled = self.group(namespace, value);
        labelled.retain(|object| object.labels().get(label).is_some_and(|found| found == value));
        labelled
    }

    /// Takes the object that is known by this name out of its group.
    fn leave(&self, groups: &mut Groups<K>, reference: &ObjectRef<K>) {
        let Some(known) = self.reader.get(reference) else { return };
        let Some(group) = (self.group)(&known) else { return };
        let key = (known.meta().namespace.clone().unwrap_or_default(), group);
        if let Some(members) = groups.get_mut(&key) {
            members.remove(reference);
            if members.is_empty() {
                groups.remove(&key);
            }
        }
    }

    fn enter(&self, groups: &mut Groups<K>, object: &K) {
        if let Some(group) = (self.group)(object) {
            let key = (object.meta().namespace.clone().unwrap_or_default(), group);
            groups.entry(key).or_default().insert(self.reference(object));
        }
    }

    /// The newest version that the watch reported in the namespace of `object`.
    fn newest(&self, object: &K) -> Option<u64> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.get(object.meta().namespace.as_deref().unwrap_or_default()).copied()
    }

    /// The watch reported `object`.
    fn reported(&self, object: &K) {
        let Ok(version) = resource_version(object) else { return };
        let namespace = object.meta().namespace.clone().unwrap_or_default();
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = newest.entry(namespace).or_default();
        *newest = version.max(*newest);
    }

    /// For what reads a kube-runtime store.
    #[must_use]
    pub fn store(&self) -> Store<K> {
        self.reader.clone()
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> &K::DynamicType {
        &self.kind
    }

    fn reference(&self, object: &K) -> ObjectRef<K> {
        ObjectRef::from_obj_with(object, self.kind.clone())
    }
}

impl<K> fmt::Debug for Cache<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("kind", &K::kind(&self.kind)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use portcullis_plan::ENDPOINT_LABEL;

    fn config_map(version: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some("agents".to_owned());
        object.metadata.namespace = Some("dev".to_owned());
        object.metadata.resource_version = Some(version.to_owned());
        object.metadata.labels = Some([(ENDPOINT_LABEL.to_owned(), "agents".to_owned())].into());
        object
    }

    fn held(cache: &Cache<ConfigMap>) -> Option<String> {
        cache.get("dev", "agents")?.resource_version()
    }

    #[test]
    fn an_own_write_is_seen_at_once_and_older_events_are_dropped() {
        let cache = Cache::new((), |_: &mut ConfigMap| {});
        cache.observe(Event::Init);
        cache.observe(Event::InitApply(config_map("9")));
        assert!(matches!(cache.observe(Event::InitDone), Change::All));

        cache.learn(config_map("11"));
        assert_eq!(held(&cache).as_deref(), Some("11"));
        assert!(matches!(cache.observe(Event::Apply(config_map("10"))), Change::None), "older than the own write");
        assert!(matches!(cache.observe(Event::Apply(config_map("11"))), Change::None), "the own write's echo");
        assert!(matches!(cache.observe(Event::Delete(config_map("10"))), Change::None), "deleted, then made again");
        assert_eq!(held(&cache).as_deref(), Some("11"));

        assert!(matches!(cache.observe(Event::Apply(config_map("12"))), Change::One(_)));
        assert!(matches!(cache.observe(Event::Delete(config_map("13"))), Change::One(_)));
        assert_eq!(held(&cache), None);
    }

    #[test]
    fn a_late_response_brings_no_deleted_object_back() {
        let of_another = |version: &str, namespace: &str| {
            let mut other = config_map(version);
            other.metadata.name = Some("other".to_owned());
            other.metadata.namespace = Some(namespace.to_owned());
            other
        };
        let cache = Cache::new((), |_: &mut ConfigMap| {});
        for event in [Event::Init, Event::InitApply(config_map("9")), Event::InitDone] {
            cache.observe(event);
        }
        assert!(matches!(cache.observe(Event::Delete(config_map("12"))), Change::One(_)));
        cache.learn(config_map("11"));
        assert_eq!(held(&cache), None, "the status was written before the deletion");
        cache.learn(config_map("13"));
        assert_eq!(held(&cache).as_deref(), Some("13"), "created again, and the watch has not reported it yet");

        // The list is read again: it no longer has the object, but a newer one.
        for event in [Event::Init, Event::InitApply(of_another("20", "dev")), Event::InitDone] {
            cache.observe(event);
        }
        cache.learn(config_map("14"));
        assert_eq!(held(&cache), None, "deleted before the list");
        // Each namespace may have a watch of its own, and one may lag behind another.
        cache.observe(Event::Apply(of_another("30", "prod")));
        cache.learn(config_map("21"));
        assert_eq!(held(&cache).as_deref(), Some("21"), "the watch of its namespace has not reported version 21 yet");
    }

    #[test]
    fn objects_are_found_by_label_and_namespace() {
        let of = |map: &ConfigMap| map.metadata.labels.as_ref()?.get(ENDPOINT_LABEL).cloned();
        let cache = Cache::new((), |_: &mut ConfigMap| {}).grouped_by(of);
        cache.learn(config_map("1"));
        let count = |namespace, value| cache.labelled(namespace, (ENDPOINT_LABEL, value)).len();
        let counts = || (count("dev", "agents"), count("dev", "other"), count("prod", "agents"));
        assert_eq!(counts(), (1, 0, 0));

        let mut moved = config_map("2");
        moved.metadata.labels = Some([(ENDPOINT_LABEL.to_owned(), "other".to_owned())].into());
        cache.observe(Event::Apply(moved));
        assert_eq!(counts(), (0, 1, 0), "its label changed");
        cache.observe(Event::Delete(config_map("3")));
        assert_eq!(counts(), (0, 0, 0));
        assert!(cache.groups.read().unwrap().is_empty());

        for event in [Event::Init, Event::InitApply(config_map("4")), Event::InitDone] {
            cache.observe(event);
        }
        assert_eq!(counts(), (1, 0, 0), "listed");
        for event in [Event::Init, Event::InitDone] {
            cache.observe(event);
        }
        assert_eq!(counts(), (0, 0, 0), "and listed again without it");
    }
}
