use crate::index::*;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug)]
struct TestEntry(&'static str, u64);

impl Indexed for TestEntry {
    fn name(&self) -> &str {
        self.0
    }
    fn version(&self) -> u64 {
        self.1
    }
    fn user(&self) -> Option<&str> {
        Some("ann")
    }
}

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn version(index: &Index<TestEntry>, name: &str) -> Result<u64, &'static str> {
    match index.find(name) {
        Lookup::Present(thing) => Ok(thing.version()),
        Lookup::Deleted => Err("gone"),
        Lookup::Unknown => Err("unknown"),
    }
}

#[test]
fn older_events_are_dropped_in_any_order() {
    let index = Index::default();
    assert_eq!(version(&index, "a"), Err("unknown"));
    index.apply_response(TestEntry("a", 10));
    assert_eq!(index.apply_watch_event(TestEntry("a", 9)).version(), 10);
    index.apply_watch_event(TestEntry("a", 12));
    assert_eq!(version(&index, "a"), Ok(12));
    index.removed("a", Some(11), at(0));
    assert_eq!(version(&index, "a"), Ok(12), "deleted, then made again, then told of the deletion");
    index.removed("a", Some(13), at(0));
    assert_eq!(version(&index, "a"), Err("gone"));
    index.apply_response(TestEntry("a", 12));
    assert_eq!(version(&index, "a"), Err("gone"), "a late answer does not bring it back");
    assert!(index.of_user("ann").is_empty());
    index.apply_watch_event(TestEntry("a", 14));
    assert_eq!(version(&index, "a"), Ok(14), "made again");
    assert_eq!(index.of_user("ann").len(), 1);
}

#[test]
fn an_answer_that_there_is_none_is_about_what_was_known_when_it_was_asked() {
    let index = Index::default();
    let asked = index.version("a");
    index.apply_response(TestEntry("a", 10));
    index.apply_not_found("a", asked, at(0));
    assert_eq!(version(&index, "a"), Ok(10), "made while the answer was on its way");
    let asked = index.version("a");
    index.apply_watch_event(TestEntry("a", 12));
    index.apply_not_found("a", asked, at(0));
    assert_eq!(version(&index, "a"), Ok(12), "deleted and made again");
    index.apply_not_found("a", index.version("a"), at(0));
    assert_eq!(version(&index, "a"), Err("gone"));
    index.apply_not_found("b", index.version("b"), at(0));
    assert_eq!(version(&index, "b"), Err("unknown"));
}

#[test]
fn a_list_yields_deleted_and_doubtful_names() {
    let index = Index::default();
    index.list_begins();
    for name in ["stays", "goes"] {
        index.apply_watch_event(TestEntry(name, 1));
    }
    assert!(index.list_ends(at(0)).is_empty());

    index.list_begins();
    index.apply_watch_event(TestEntry("stays", 1));
    index.apply_response(TestEntry("new", 7));
    assert_eq!(index.list_ends(at(0)), ["new"]);
    assert_eq!(version(&index, "goes"), Err("gone"));
    assert_eq!((version(&index, "stays"), version(&index, "new")), (Ok(1), Ok(7)));
}

#[test]
fn things_are_in_order_wherever_they_move() {
    #[derive(Clone, Debug)]
    struct Named(&'static str, u64, &'static str, &'static str);
    impl Indexed for Named {
        fn name(&self) -> &str {
            self.0
        }
        fn version(&self) -> u64 {
            self.1
        }
        fn user(&self) -> Option<&str> {
            Some(self.2)
        }
        fn order(&self) -> &str {
            self.3
        }
    }
    let index: Index<Named> = Index::default();
    let names = |user: &str| index.of_user(user).iter().map(|thing| thing.0).collect::<Vec<_>>();
    let mut changes = index.changes();
    for named in [Named("a", 1, "ann", "z"), Named("b", 2, "ann", "m"), Named("c", 3, "ann", "m")] {
        index.apply_watch_event(named);
    }
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    assert_eq!(names("ann"), ["b", "c", "a"]);
    index.apply_watch_event(Named("a", 4, "ann", "d"));
    index.update_local("b", |thing| Named(thing.0, thing.1, thing.2, "n"));
    assert_eq!(names("ann"), ["a", "c", "b"], "renamed");
    index.apply_watch_event(Named("c", 5, "bob", "m"));
    assert_eq!((names("ann"), names("bob")), (vec!["a", "b"], vec!["c"]), "made anew by somebody else");
    index.removed("c", None, at(0));
    assert!(names("bob").is_empty());
    assert!(changes.has_changed().unwrap());
}

#[test]
fn deleted_names_are_remembered_for_a_while() {
    let index = Index::default();
    index.apply_watch_event(TestEntry("a", 1));
    index.removed("a", Some(2), at(0));
    index.removed("b", None, at(300));
    assert_eq!(version(&index, "a"), Err("gone"), "five minutes later");
    index.removed("a", Some(3), at(500));
    index.removed("c", None, at(700));
    assert_eq!(version(&index, "a"), Err("gone"), "deleted twice");
    index.removed("d", None, at(1200));
    assert_eq!(version(&index, "a"), Err("unknown"));
    assert_eq!(version(&index, "c"), Err("gone"));
}

/// Grants that expire at once are deleted at once: by the operator one by one, or all between two lists.
#[test]
fn thirty_thousand_deletions_at_once_hold_the_lock_for_a_bounded_number_of_entries() {
    const MANY: usize = 30_000;
    #[derive(Debug)]
    struct Many(String, u64);
    impl Indexed for Many {
        fn name(&self) -> &str {
            &self.0
        }
        fn version(&self) -> u64 {
            self.1
        }
        fn user(&self) -> Option<&str> {
            Some("ann")
        }
    }
    let index: Index<Many> = Index::default();
    let names: Vec<String> = (0..MANY).map(|number| format!("g-{number}")).collect();
    let tell_all = |version| {
        index.list_begins();
        for name in &names {
            index.apply_watch_event(Many(name.clone(), version));
        }
        assert!(index.list_ends(at(0)).is_empty());
    };
    let tombstones = || {
        let inner = index.read();
        (inner.deleted.len(), inner.deleted_at.len())
    };
    // What a request waits for its look-up while `work` goes on: printed, since it depends on the machine.
    let beside = |what: &str, work: &(dyn Fn() + Sync)| {
        let done = std::sync::atomic::AtomicBool::new(false);
        let longest = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut longest = Duration::ZERO;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let begun = Instant::now();
                    drop(index.find("g-0"));
                    longest = longest.max(begun.elapsed());
                }
                longest
            });
            work();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            reader.join().unwrap()
        });
        let most = std::mem::take(&mut index.write().most_visited);
        println!("{what}: at most {most} entries under one hold; the longest wait of a look-up was {longest:?}");
        assert!(most <= 2 * STEP, "{what}: {most}");
    };

    tell_all(1);
    beside("a list without any of them", &|| {
        index.list_begins();
        assert!(index.list_ends(at(0)).is_empty());
    });
    assert_eq!((index.count(|_| true), tombstones()), (0, (MANY, MANY)));
    beside("the tombstones expire while one more is deleted", &|| index.removed("other", None, at(601)));
    beside("the rest of them", &|| index.forget(at(601)));
    assert_eq!(tombstones(), (1, 1));

    tell_all(2);
    beside("each is deleted", &|| {
        for name in &names {
            index.removed(name, Some(3), at(700));
        }
    });
    tell_all(4);
    beside("each is deleted again while the first tombstones expire", &|| {
        for name in &names {
            index.removed(name, Some(5), at(1301));
        }
    });
    assert_eq!(tombstones(), (MANY, MANY), "removals drop more than they add");
    assert!(matches!(index.find("g-7"), Lookup::Deleted), "the second deletion counts");
    index.forget(at(1902));
    assert_eq!(tombstones(), (0, 0));
    assert!(matches!(index.find("g-7"), Lookup::Unknown));
}
