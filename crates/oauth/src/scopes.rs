//! The scopes that are granted for a request (RFC 6749 §3.3).

use portcullis_core::{Scope, scope};
use std::collections::BTreeSet;

/// Scopes of OpenID Connect that clients request by default. They grant nothing here: the grant types of a client
/// decide whether it gets a refresh token, and clients get no information about the user.
const WITHOUT_EFFECT: [&str; 4] = ["offline_access", "openid", "profile", "email"];

/// Why no scope is granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// A scope is unknown.
    #[error(transparent)]
    Unknown(#[from] scope::UnknownScope),
    /// None of the requested scopes is allowed.
    #[error("of these scopes, only the following may be requested: {0}")]
    Beyond(String),
}

/// The requested scopes, limited to the allowed ones. Clients request all scopes in the metadata, and RFC 6749 §3.3
/// lets a server grant fewer, since the response lists the granted ones. A request without scopes is one for all
/// allowed scopes.
pub(crate) fn granted(asked: Option<&str>, allowed: &BTreeSet<Scope>) -> Result<BTreeSet<Scope>, ScopeError> {
    let words = asked.unwrap_or_default().split_ascii_whitespace().filter(|word| !WITHOUT_EFFECT.contains(word));
    let asked = words.map(str::parse).collect::<Result<BTreeSet<Scope>, _>>()?;
    let granted = if asked.is_empty() { allowed.clone() } else { &asked & allowed };
    if granted.is_empty() { Err(ScopeError::Beyond(scope::join(allowed))) } else { Ok(granted) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scopes_are_narrowed_and_never_widened() {
        let allowed = BTreeSet::from([Scope::FilesRead, Scope::WorkspacesRead]);
        for (asked, expected) in [
            (None, Some("workspaces:read files:read")),
            (Some(" "), Some("workspaces:read files:read")),
            (Some("offline_access openid"), Some("workspaces:read files:read")),
            (Some("files:read"), Some("files:read")),
            (Some("files:read  files:read offline_access"), Some("files:read")),
            (Some("files:read files:write"), Some("files:read")),
            (Some("files:write"), None),
            (Some("files:read everything"), None),
            (Some("Files:read"), None),
        ] {
            assert_eq!(
                granted(asked, &allowed).ok().map(|scopes| scope::join(&scopes)).as_deref(),
                expected,
                "{asked:?}"
            );
        }
    }

    fn scopes() -> impl Strategy<Value = BTreeSet<Scope>> {
        prop::sample::subsequence(Scope::ALL.to_vec(), 0..=6).prop_map(|scopes| scopes.into_iter().collect())
    }

    proptest! {
        #[test]
        fn what_is_granted_was_asked_for_and_allowed(asked in scopes(), allowed in scopes()) {
            match granted(Some(&scope::join(&asked)), &allowed) {
                Ok(scopes) => {
                    prop_assert!(!scopes.is_empty() && scopes.is_subset(&allowed));
                    prop_assert!(asked.is_empty() || scopes.is_subset(&asked));
                    prop_assert_eq!(granted(Some(&scope::join(&scopes)), &allowed).unwrap(), scopes);
                }
                Err(_) => prop_assert!(asked.is_disjoint(&allowed)),
            }
        }

        #[test]
        fn no_parameter_panics(text in "\\PC{0,80}", allowed in scopes()) {
            if let Ok(scopes) = granted(Some(&text), &allowed) {
                prop_assert!(scopes.is_subset(&allowed));
            }
        }
    }
}
