//! What admission refuses.

use std::fmt;

/// One violation in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field, such as `spec.redirectUris[0]`; empty: the whole manifest.
    pub field: String,
    /// The problem and its remedy, as the end of a sentence that begins with the field.
    pub message: String,
}

impl Violation {
    pub(super) fn new(field: &str, message: impl Into<String>) -> Self {
        Self { field: field.to_owned(), message: message.into() }
    }

    /// A rule about metadata can have no path in Kubernetes, so that its message begins with the field.
    pub(super) fn of_rule(path: &str, message: &str) -> Self {
        match message.split_once(": ") {
            Some((field, message)) if path.is_empty() => Self::new(field, message),
            _ => Self::new(path, message),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}
