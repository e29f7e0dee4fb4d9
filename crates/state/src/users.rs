//! The rules of `OAuthUser`s, by user: in memory, for one lookup per request.
//!
//! The strictest rule of a user wins. When a rule is deleted, the sessions that it ended stay ended for as long as a session
//! can last: grants are marked as revoked, but sessions are cookies, so nothing else records that they ended.

use jiff::Timestamp;
use portcullis_api::OAuthUserSpec;
use portcullis_oauth::user_rules::{Ended, SESSION_LIFETIME, UserRules};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// The rules of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct UserTable {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    users: HashMap<String, User>,
    /// The user that each object names.
    objects: HashMap<String, String>,
    /// The objects in the current list so far.
    listed: BTreeSet<String>,
}

/// The rules of one user.
#[derive(Debug, Default)]
struct User {
    /// By the object's name.
    rules: BTreeMap<String, Rule>,
    /// The strictest of them.
    rule: Rule,
    /// Until when the effect of a deleted rule lasts.
    lifted: Option<Timestamp>,
}

/// The rule of one object, or the strictest of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rule {
    disabled: bool,
    not_before: Option<Timestamp>,
}

impl UserTable {
    /// Sets the rule of the object `name`.
    pub(crate) fn put(&self, name: &str, spec: &OAuthUserSpec, now: Timestamp) {
        let rule = Rule { disabled: spec.disabled, not_before: spec.not_before };
        self.write().put(name, &spec.user.id, rule, now);
    }

    /// Disables the user of the object `name`, whose rule cannot be read.
    pub(crate) fn put_unreadable(&self, name: &str, user_id: &str, now: Timestamp) {
        self.write().put(name, user_id, Rule { disabled: true, not_before: None }, now);
    }

    /// Keeps the rule of the object `name`, which cannot be read.
    pub(crate) fn keep(&self, name: &str) {
        self.write().listed.insert(name.to_owned());
    }

    /// Removes the object `name`, which was deleted or is about another endpoint.
    pub(crate) fn remove(&self, name: &str, now: Timestamp) {
        self.write().remove(name, now);
    }

    /// A list of all objects begins.
    pub(crate) fn list_begins(&self) {
        self.write().listed.clear();
    }

    /// The list is complete: removes objects that are not in it.
    pub(crate) fn list_ends(&self, now: Timestamp) {
        let mut inner = self.write();
        let listed = std::mem::take(&mut inner.listed);
        let gone: Vec<String> = inner.objects.keys().filter(|name| !listed.contains(*name)).cloned().collect();
        for name in gone {
            inner.remove(&name, now);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UserRules for UserTable {
    fn ended(&self, user_id: &str, since: Timestamp) -> Option<Ended> {
        self.read().users.get(user_id)?.ended(since)
    }
}

impl Inner {
    fn put(&mut self, name: &str, user_id: &str, rule: Rule, now: Timestamp) {
        self.listed.insert(name.to_owned());
        // The object may have been deleted and made again for another user.
        if self.objects.get(name).is_some_and(|known| known != user_id) {
            self.remove(name, now);
        }
        self.objects.insert(name.to_owned(), user_id.to_owned());
        let user = self.users.entry(user_id.to_owned()).or_default();
        user.rules.insert(name.to_owned(), rule);
        user.changed(now);
    }

    fn remove(&mut self, name: &str, now: Timestamp) {
        let Some(user_id) = self.objects.remove(name) else { return };
        if let Some(user) = self.users.get_mut(&user_id) {
            user.rules.remove(name);
            user.changed(now);
        }
        self.users.retain(|_, user| !user.rules.is_empty() || user.lifted.is_some_and(|at| outlasts(at, now)));
    }
}

impl User {
    /// Determines the strictest rule again, and keeps the effect of deleted ones.
    fn changed(&mut self, now: Timestamp) {
        let after = self.rules.values().fold(Rule::default(), |one, other| Rule {
            disabled: one.disabled || other.disabled,
            not_before: one.not_before.max(other.not_before),
        });
        let before = std::mem::replace(&mut self.rule, after);
        // A time to come never ended anything beyond the present.
        let bound = if before.disabled { Some(now) } else { before.not_before.map(|bound| bound.min(now)) };
        if (before.disabled && !after.disabled) || after.not_before < before.not_before {
            self.lifted = self.lifted.max(bound);
        }
    }

    fn ended(&self, since: Timestamp) -> Option<Ended> {
        if self.rule.disabled {
            return Some(Ended::Disabled);
        }
        let bound = self.rule.not_before.max(self.lifted)?;
        (since.as_second() <= bound.as_second()).then_some(Ended::Before)
    }
}

/// Whether a session from before `at` can still exist.
fn outlasts(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at) < SESSION_LIFETIME
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ADA: &str = "local:ada";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn spec(user: &str, disabled: bool, not_before: Option<i64>) -> OAuthUserSpec {
        let spec = json!({
            "endpointRef": {"name": "agents"}, "user": {"id": user}, "disabled": disabled,
            "notBefore": not_before.map(at),
        });
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn the_strictest_rule_counts() {
        let table = UserTable::default();
        assert_eq!(table.ended(ADA, at(0)), None);
        table.put("one", &spec(ADA, false, Some(100)), at(200));
        table.put("two", &spec(ADA, false, Some(50)), at(200));
        let rows = [(99, Some(Ended::Before)), (100, Some(Ended::Before)), (101, None)];
        for (since, ended) in rows {
            assert_eq!(table.ended(ADA, at(since)), ended, "{since}");
        }
        let fraction = Timestamp::new(100, 999_999_999).unwrap();
        assert_eq!(table.ended(ADA, fraction), Some(Ended::Before), "notBefore has whole seconds");
        table.put("two", &spec(ADA, true, None), at(200));
        assert_eq!(table.ended(ADA, at(10_000)), Some(Ended::Disabled));
        table.remove("one", at(200));
        assert_eq!(table.ended(ADA, at(10_000)), Some(Ended::Disabled));
    }

    #[test]
    fn a_rule_is_about_exactly_one_user() {
        let table = UserTable::default();
        table.put("one", &spec(ADA, true, None), at(0));
        for other in
            ["local:ad", "local:adaa", "local:Ada", "LOCAL:ada", "local:\u{e0}da", "local:a\u{301}da", "ada", ""]
        {
            assert_eq!(table.ended(other, at(0)), None, "{other}");
        }
        table.put_unreadable("two", "local:bob", at(0));
        assert_eq!(table.ended("local:bob", at(0)), Some(Ended::Disabled));
    }

    #[test]
    fn what_ended_stays_ended_when_the_rule_is_lifted() {
        let table = UserTable::default();
        table.put("one", &spec(ADA, true, None), at(100));
        table.remove("one", at(200));
        assert_eq!(table.ended(ADA, at(150)), Some(Ended::Before), "it began before the user was enabled again");
        assert_eq!(table.ended(ADA, at(201)), None);

        table.put("one", &spec(ADA, false, Some(300)), at(400));
        table.put("one", &spec(ADA, false, Some(250)), at(400));
        assert_eq!(table.ended(ADA, at(300)), Some(Ended::Before));
        table.put("two", &spec(ADA, false, Some(9_000)), at(500));
        assert_eq!(table.ended(ADA, at(600)), Some(Ended::Before), "not before then");
        table.remove("two", at(700));
        assert_eq!((table.ended(ADA, at(700)), table.ended(ADA, at(701))), (Some(Ended::Before), None));
    }

    #[test]
    fn what_was_lifted_is_forgotten_when_no_session_can_be_left() {
        let table = UserTable::default();
        for name in ["ada", "bob"] {
            table.put(name, &spec(&format!("local:{name}"), true, None), at(0));
        }
        table.remove("ada", at(0));
        assert_eq!(table.read().users.len(), 2);
        table.remove("bob", at(SESSION_LIFETIME.as_secs()));
        assert_eq!(table.read().users.keys().collect::<Vec<_>>(), ["local:bob"]);
    }

    #[test]
    fn a_list_removes_objects_and_one_can_be_made_again_for_another_user() {
        let table = UserTable::default();
        table.put("gone", &spec(ADA, true, None), at(0));
        table.put("moved", &spec("local:bob", true, None), at(0));
        table.list_begins();
        table.put("moved", &spec("local:eve", true, None), at(0));
        assert_eq!(table.ended(ADA, at(9)), Some(Ended::Disabled), "the list has not ended");
        table.list_ends(at(0));
        assert_eq!(table.ended(ADA, at(9)), None);
        assert_eq!(table.ended("local:bob", at(9)), None);
        assert_eq!(table.ended("local:eve", at(9)), Some(Ended::Disabled));
    }
}
