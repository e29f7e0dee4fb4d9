//! What a provider says of a user: the claims of an ID token, completed by those of userinfo.

use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// By what people are called where the configured claim is not there, in this order (OpenID Connect Core §5.1).
const NAMES: [&str; 3] = ["preferred_username", "email", "name"];
/// OpenID Connect Core §2.
const MAX_SUBJECT: usize = 255;

/// Claims about one user.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    /// Whether it is there and says something.
    pub(super) fn has(&self, claim: &str) -> bool {
        self.0.get(claim).is_some_and(|value| !value.is_null())
    }

    pub(super) fn get(&self, claim: &str) -> Option<&Value> {
        self.0.get(claim)
    }

    pub(super) fn text(&self, claim: &str) -> Option<&str> {
        self.0.get(claim)?.as_str().filter(|text| !text.trim().is_empty())
    }

    /// A point in time, in whole seconds. Fractions are allowed (RFC 7519 §2).
    #[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and no time is that far away")]
    pub(super) fn seconds(&self, claim: &str) -> Option<i64> {
        let value = self.0.get(claim)?;
        value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
    }

    /// Who it is, at this provider and for ever.
    pub(super) fn subject(&self) -> Option<String> {
        self.text("sub").filter(|subject| subject.len() <= MAX_SUBJECT).map(ToOwned::to_owned)
    }

    /// Adds claims; those that are here already stay as they are.
    pub(super) fn complete(&mut self, more: Self) {
        for (claim, value) in more.0 {
            self.0.entry(claim).or_insert(value);
        }
    }

    /// What people call the user.
    pub(super) fn name(&self, claim: &str) -> Option<String> {
        [claim].into_iter().chain(NAMES).find_map(|claim| self.text(claim)).map(ToOwned::to_owned)
    }

    /// The groups: a list, or one alone.
    pub(super) fn groups(&self, claim: &str) -> BTreeSet<&str> {
        match self.0.get(claim) {
            Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(group)) => BTreeSet::from([group.as_str()]),
            _ => BTreeSet::new(),
        }
    }
}
