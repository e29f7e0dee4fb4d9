//! Compares the index with a simple model: a list of objects and a list of deletions.

use crate::index::*;
use proptest::prelude::*;

/// There are few users and orders, so that objects collide.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TestEntry {
    name: String,
    version: u64,
    user: Option<&'static str>,
    order: &'static str,
}

impl Indexed for TestEntry {
    fn name(&self) -> &str {
        &self.name
    }
    fn version(&self) -> u64 {
        self.version
    }
    fn user(&self) -> Option<&str> {
        self.user
    }
    fn order(&self) -> &str {
        self.order
    }
}

#[derive(Clone, Debug)]
enum Step {
    ApplyWatchEvent(TestEntry),
    ApplyResponse(TestEntry),
    ApplyNotFound {
        name: String,
        asked: Option<u64>,
    },
    UpdateLocal {
        name: String,
        order: &'static str,
    },
    Removed {
        name: String,
        version: Option<u64>,
    },
    /// A complete list, and the response to a write that arrived meanwhile.
    List {
        from_watch: Vec<TestEntry>,
        answered: Option<TestEntry>,
    },
    Pass {
        seconds: i64,
    },
}

#[derive(Default)]
struct Model {
    present: Vec<(TestEntry, bool)>,
    deleted: Vec<(String, u64, Timestamp)>,
}

impl Model {
    fn put(&mut self, thing: &TestEntry, from_watch: bool) {
        if let Some((known, known_from_watch)) = self.present.iter_mut().find(|(known, _)| known.name == thing.name) {
            *known_from_watch |= from_watch;
            if known.version < thing.version {
                *known = thing.clone();
            }
        } else if !self.deleted.iter().any(|(name, version, _)| *name == thing.name && thing.version <= *version) {
            self.deleted.retain(|(name, ..)| *name != thing.name);
            self.present.push((thing.clone(), from_watch));
        }
    }

    fn remove(&mut self, name: &str, version: Option<u64>, now: Timestamp) {
        let known = self.present.iter().find(|(thing, _)| thing.name == name).map(|(thing, _)| thing.version);
        if let (Some(version), Some(known)) = (version, known)
            && version < known
        {
            return;
        }
        self.present.retain(|(thing, _)| thing.name != name);
        let version = version.or(known).unwrap_or_default();
        let before = self.deleted.iter().find(|(deleted, ..)| deleted == name).map_or(0, |(_, version, _)| *version);
        self.deleted.retain(|(deleted, ..)| deleted != name);
        self.deleted.push((name.to_owned(), version.max(before), now));
    }
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(&["a", "b", "c", "d", "e"][..]).prop_map(str::to_owned)
}

fn thing() -> impl Strategy<Value = TestEntry> {
    let user = prop::sample::select(&[None, Some("ann"), Some("bob")][..]);
    (name(), 1..20_u64, user, order()).prop_map(|(name, version, user, order)| TestEntry { name, version, user, order })
}

fn order() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["x", "y"][..])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => thing().prop_map(Step::ApplyWatchEvent),
        3 => thing().prop_map(Step::ApplyResponse),
        1 => (name(), prop::option::of(1..20_u64)).prop_map(|(name, asked)| Step::ApplyNotFound { name, asked }),
        1 => (name(), order()).prop_map(|(name, order)| Step::UpdateLocal { name, order }),
        4 => (name(), prop::option::of(1..20_u64)).prop_map(|(name, version)| Step::Removed { name, version }),
        1 => (prop::collection::vec(thing(), 0..5), prop::option::of(thing()))
            .prop_map(|(from_watch, answered)| Step::List { from_watch, answered }),
        2 => (0..400_i64).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

proptest! {
    #[test]
    fn the_index_tells_what_a_naive_model_tells(steps in prop::collection::vec(step(), 0..60)) {
        let (index, mut model) = (Index::<TestEntry>::default(), Model::default());
        let mut now = Timestamp::from_second(1_800_000_000).unwrap();
        for step in steps {
            match step {
                Step::ApplyWatchEvent(thing) => {
                    model.put(&thing, true);
                    index.apply_watch_event(thing);
                }
                Step::ApplyResponse(thing) => {
                    model.put(&thing, false);
                    index.apply_response(thing);
                }
                Step::ApplyNotFound { name, asked } => {
                    if asked.is_some() {
                        model.remove(&name, asked, now);
                    }
                    index.apply_not_found(&name, asked, now);
                }
                Step::UpdateLocal { name, order } => {
                    for (thing, _) in model.present.iter_mut().filter(|(thing, _)| thing.name == name) {
                        thing.order = order;
                    }
                    index.update_local(&name, |thing| TestEntry { order, ..thing.clone() });
                }
                Step::Removed { name, version } => {
                    model.remove(&name, version, now);
                    index.removed(&name, version, now);
                }
                Step::List { from_watch, answered } => {
                    index.list_begins();
                    let heard: Vec<&String> = from_watch.iter().chain(&answered).map(|thing| &thing.name).collect();
                    for thing in &from_watch {
                        model.put(thing, true);
                        index.apply_watch_event(thing.clone());
                    }
                    if let Some(thing) = &answered {
                        model.put(thing, false);
                        index.apply_response(thing.clone());
                    }
                    let old = model.present.iter().map(|(thing, _)| thing.name.clone());
                    let old: Vec<String> = old.filter(|name| !heard.contains(&name)).collect();
                    for name in &old {
                        model.remove(name, None, now);
                    }
                    let mut doubtful = index.list_ends(now);
                    doubtful.sort();
                    let expected = model.present.iter().filter(|(_, from_watch)| !from_watch).map(|(thing, _)| thing.name.clone());
                    let mut expected: Vec<String> = expected.collect();
                    expected.sort();
                    prop_assert_eq!(doubtful, expected);
                }
                Step::Pass { seconds } => {
                    now += SignedDuration::from_secs(seconds);
                    model.deleted.retain(|(_, _, at)| now.duration_since(*at) <= TOMBSTONE_LIFETIME);
                    index.forget(now);
                }
            }
            for name in ["a", "b", "c", "d", "e"] {
                let found = index.find(name);
                let present = model.present.iter().find(|(thing, _)| thing.name == name);
                let deleted = model.deleted.iter().any(|(deleted, ..)| deleted == name);
                match found {
                    Lookup::Present(thing) => prop_assert_eq!(Some(&*thing), present.map(|(thing, _)| thing)),
                    Lookup::Deleted => prop_assert!(present.is_none() && deleted, "{} is not gone", name),
                    Lookup::Unknown => prop_assert!(present.is_none() && !deleted, "{} is known", name),
                }
            }
            for user in ["ann", "bob"] {
                let things = model.present.iter().map(|(thing, _)| thing).filter(|thing| thing.user == Some(user));
                let mut things: Vec<&TestEntry> = things.collect();
                things.sort_by_key(|thing| (thing.order, thing.name.clone()));
                let found = index.of_user(user);
                prop_assert_eq!(found.iter().map(|thing| &**thing).collect::<Vec<_>>(), things);
            }
            let inner = index.read();
            prop_assert_eq!((inner.present.len(), inner.deleted.len()), (model.present.len(), model.deleted.len()));
        }
    }
}
