//! The index against a model of it that is too simple to be wrong: a list of things and a list of deletions.

use crate::index::*;
use proptest::prelude::*;

/// Users and orders are few, so that things meet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Thing {
    name: String,
    version: u64,
    user: Option<&'static str>,
    order: &'static str,
}

impl Entry for Thing {
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
    Told(Thing),
    Answered(Thing),
    AnsweredNone {
        name: String,
        asked: Option<u64>,
    },
    Amend {
        name: String,
        order: &'static str,
    },
    Removed {
        name: String,
        version: Option<u64>,
    },
    /// A whole list, and the answer to a write that came meanwhile.
    List {
        told: Vec<Thing>,
        answered: Option<Thing>,
    },
    Pass {
        seconds: i64,
    },
}

#[derive(Default)]
struct Model {
    here: Vec<(Thing, bool)>,
    gone: Vec<(String, u64, Timestamp)>,
}

impl Model {
    fn put(&mut self, thing: &Thing, told: bool) {
        if let Some((known, known_told)) = self.here.iter_mut().find(|(known, _)| known.name == thing.name) {
            *known_told |= told;
            if known.version < thing.version {
                *known = thing.clone();
            }
        } else if !self.gone.iter().any(|(name, version, _)| *name == thing.name && thing.version <= *version) {
            self.gone.retain(|(name, ..)| *name != thing.name);
            self.here.push((thing.clone(), told));
        }
    }

    fn remove(&mut self, name: &str, version: Option<u64>, now: Timestamp) {
        let known = self.here.iter().find(|(thing, _)| thing.name == name).map(|(thing, _)| thing.version);
        if let (Some(version), Some(known)) = (version, known)
            && version < known
        {
            return;
        }
        self.here.retain(|(thing, _)| thing.name != name);
        let version = version.or(known).unwrap_or_default();
        let before = self.gone.iter().find(|(gone, ..)| gone == name).map_or(0, |(_, version, _)| *version);
        self.gone.retain(|(gone, ..)| gone != name);
        self.gone.push((name.to_owned(), version.max(before), now));
    }
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(&["a", "b", "c", "d", "e"][..]).prop_map(str::to_owned)
}

fn thing() -> impl Strategy<Value = Thing> {
    let user = prop::sample::select(&[None, Some("ann"), Some("bob")][..]);
    (name(), 1..20_u64, user, order()).prop_map(|(name, version, user, order)| Thing { name, version, user, order })
}

fn order() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["x", "y"][..])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => thing().prop_map(Step::Told),
        3 => thing().prop_map(Step::Answered),
        1 => (name(), prop::option::of(1..20_u64)).prop_map(|(name, asked)| Step::AnsweredNone { name, asked }),
        1 => (name(), order()).prop_map(|(name, order)| Step::Amend { name, order }),
        4 => (name(), prop::option::of(1..20_u64)).prop_map(|(name, version)| Step::Removed { name, version }),
        1 => (prop::collection::vec(thing(), 0..5), prop::option::of(thing()))
            .prop_map(|(told, answered)| Step::List { told, answered }),
        2 => (0..400_i64).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

proptest! {
    #[test]
    fn the_index_tells_what_a_naive_model_tells(steps in prop::collection::vec(step(), 0..60)) {
        let (index, mut model) = (Index::<Thing>::default(), Model::default());
        let mut now = Timestamp::from_second(1_800_000_000).unwrap();
        for step in steps {
            match step {
                Step::Told(thing) => {
                    model.put(&thing, true);
                    index.told(thing);
                }
                Step::Answered(thing) => {
                    model.put(&thing, false);
                    index.answered(thing);
                }
                Step::AnsweredNone { name, asked } => {
                    if asked.is_some() {
                        model.remove(&name, asked, now);
                    }
                    index.answered_none(&name, asked, now);
                }
                Step::Amend { name, order } => {
                    for (thing, _) in model.here.iter_mut().filter(|(thing, _)| thing.name == name) {
                        thing.order = order;
                    }
                    index.amend(&name, |thing| Thing { order, ..thing.clone() });
                }
                Step::Removed { name, version } => {
                    model.remove(&name, version, now);
                    index.removed(&name, version, now);
                }
                Step::List { told, answered } => {
                    index.list_begins();
                    let heard: Vec<&String> = told.iter().chain(&answered).map(|thing| &thing.name).collect();
                    for thing in &told {
                        model.put(thing, true);
                        index.told(thing.clone());
                    }
                    if let Some(thing) = &answered {
                        model.put(thing, false);
                        index.answered(thing.clone());
                    }
                    let old = model.here.iter().map(|(thing, _)| thing.name.clone());
                    let old: Vec<String> = old.filter(|name| !heard.contains(&name)).collect();
                    for name in &old {
                        model.remove(name, None, now);
                    }
                    let mut doubtful = index.list_ends(now);
                    doubtful.sort();
                    let expected = model.here.iter().filter(|(_, told)| !told).map(|(thing, _)| thing.name.clone());
                    let mut expected: Vec<String> = expected.collect();
                    expected.sort();
                    prop_assert_eq!(doubtful, expected);
                }
                Step::Pass { seconds } => {
                    now += SignedDuration::from_secs(seconds);
                    model.gone.retain(|(_, _, at)| now.duration_since(*at) <= REMEMBER_GONE);
                    index.forget(now);
                }
            }
            for name in ["a", "b", "c", "d", "e"] {
                let told = index.find(name);
                let here = model.here.iter().find(|(thing, _)| thing.name == name);
                let gone = model.gone.iter().any(|(gone, ..)| gone == name);
                match told {
                    Found::Here(thing) => prop_assert_eq!(Some(&*thing), here.map(|(thing, _)| thing)),
                    Found::Gone => prop_assert!(here.is_none() && gone, "{} is not gone", name),
                    Found::Unknown => prop_assert!(here.is_none() && !gone, "{} is known", name),
                }
            }
            for user in ["ann", "bob"] {
                let things = model.here.iter().map(|(thing, _)| thing).filter(|thing| thing.user == Some(user));
                let mut things: Vec<&Thing> = things.collect();
                things.sort_by_key(|thing| (thing.order, thing.name.clone()));
                let told = index.of_user(user);
                prop_assert_eq!(told.iter().map(|thing| &**thing).collect::<Vec<_>>(), things);
            }
            let inner = index.read();
            prop_assert_eq!((inner.here.len(), inner.gone.len()), (model.here.len(), model.gone.len()));
        }
    }
}
