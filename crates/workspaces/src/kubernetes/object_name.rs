//! The names of `Workspace` objects.

use portcullis_core::hex;
use sha2::{Digest as _, Sha256};

/// The name of the object. It is the same on every server, so the API server accepts only one of several concurrent
/// creations.
pub(super) fn object_name(endpoint: &str, owner: &str, name: &str) -> String {
    let mut hash = Sha256::new();
    for part in [endpoint, owner, name] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let digits = hex(&hash.finalize());
    format!("ws-{}", digits.get(..20).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_names_follow_from_what_they_name() {
        let name = object_name("agents", "local:ann", "web");
        assert_eq!(name, object_name("agents", "local:ann", "web"));
        assert!(name.len() == 23 && name.starts_with("ws-"), "{name}");
        for (endpoint, owner, other) in
            [("agent", "slocal:ann", "web"), ("agents", "local:an", "nweb"), ("agents", "local:ann", "web2")]
        {
            assert_ne!(name, object_name(endpoint, owner, other));
        }
    }
}
