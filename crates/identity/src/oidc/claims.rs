//! What a provider says of a user: the claims of an ID token, completed by those of userinfo.

use portcullis_oauth::external_jwt::Claims;
use serde_json::Value;
use std::collections::BTreeSet;

/// By what people are called where the configured claim is not there, in this order (OpenID Connect Core §5.1).
const NAMES: [&str; 3] = ["preferred_username", "email", "name"];
/// OpenID Connect Core §2.
const MAX_SUBJECT: usize = 255;

/// What claims say about a user.
pub(super) trait UserClaims {
    /// Whether the claim is there and says something.
    fn has(&self, claim: &str) -> bool;

    /// The user's id, which the provider never gives to another user.
    fn subject(&self) -> Option<String>;

    /// What people call the user.
    fn name(&self, claim: &str) -> Option<String>;

    /// The groups: a list, or one alone.
    fn groups(&self, claim: &str) -> BTreeSet<&str>;
}

impl UserClaims for Claims {
    fn has(&self, claim: &str) -> bool {
        self.get(claim).is_some_and(|value| !value.is_null())
    }

    fn subject(&self) -> Option<String> {
        self.text("sub").filter(|subject| subject.len() <= MAX_SUBJECT).map(ToOwned::to_owned)
    }

    fn name(&self, claim: &str) -> Option<String> {
        [claim].into_iter().chain(NAMES).find_map(|claim| self.text(claim)).map(ToOwned::to_owned)
    }

    fn groups(&self, claim: &str) -> BTreeSet<&str> {
        match self.get(claim) {
            Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(group)) => BTreeSet::from([group.as_str()]),
            _ => BTreeSet::new(),
        }
    }
}
