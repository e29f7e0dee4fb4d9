//! The claims about a user: those of the ID token, completed by those of the UserInfo endpoint.

use portcullis_oauth::external_jwt::Claims;
use serde_json::Value;
use std::collections::BTreeSet;

/// The fallback claims for the display name, in this order, if the configured claim is absent (OpenID Connect Core
/// §5.1).
const NAMES: [&str; 3] = ["preferred_username", "email", "name"];
/// The maximum length of `sub`, in bytes (OpenID Connect Core §2).
const MAX_SUBJECT: usize = 255;

/// Claims about a user.
pub(super) trait UserClaims {
    /// Whether the claim is present and not null.
    fn has(&self, claim: &str) -> bool;

    /// The user's id (`sub`), which the provider never reassigns.
    fn subject(&self) -> Option<String>;

    /// The display name of the user.
    fn name(&self, claim: &str) -> Option<String>;

    /// The groups of the claim: a list, or a single name.
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
