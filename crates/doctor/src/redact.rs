//! Removes secrets from texts that a server sent: a server may repeat in a response what it received.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::fmt;
use url::form_urlencoded;

/// The replacement for a secret.
const REPLACEMENT: &str = "[secret]";
/// Shorter texts are not replaced: they occur in too many other words.
const SHORTEST: usize = 4;

/// The secrets of one examination.
#[derive(Default)]
pub struct Redactor(Vec<String>);

impl Redactor {
    /// Adds a secret, plain, form-urlencoded, and in base64.
    pub fn add(&mut self, secret: &str) {
        if secret.len() < SHORTEST {
            return;
        }
        let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        self.0.extend([secret.to_owned(), STANDARD.encode(secret), encoded]);
        // A longer secret may contain a shorter one.
        self.0.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
        self.0.dedup();
    }

    /// The text without the secrets.
    #[must_use]
    pub fn apply(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, REPLACEMENT))
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} secrets)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_a_secret_remains() {
        let mut redactor = Redactor::default();
        redactor.add("hush+hush");
        redactor.add("hush");
        redactor.add("a");
        for (text, expected) in [
            ("it is hush+hush", "it is [secret]"),
            ("hush", "[secret]"),
            ("hush%2Bhush", "[secret]"),
            ("aHVzaCtodXNo", "[secret]"),
            ("a b", "a b"),
        ] {
            assert_eq!(redactor.apply(text), expected, "{text}");
        }
        assert!(!format!("{redactor:?}").contains("hush"));
    }
}
