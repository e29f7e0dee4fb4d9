//! The types of audit fields, and their representation in the log.

use portcullis_core::{Scope, grant::RevocationReason};
use std::{collections::BTreeSet, fmt};
use tracing::Value;

/// A type that a field of an event can have.
///
/// Text that callers influence is recorded as `str`, never through `Display`: the text format of the log escapes only
/// the former, and a line break would forge a log line.
pub(super) trait Field {
    /// The type in JSON.
    const KIND: &'static str;
    /// Whether the field can be absent.
    const OPTIONAL: bool = false;
    /// The value in the log.
    fn value(&self) -> impl Value;
}

impl Field for &str {
    const KIND: &'static str = "string";
    fn value(&self) -> impl Value {
        *self
    }
}

impl Field for u64 {
    const KIND: &'static str = "number";
    fn value(&self) -> impl Value {
        *self
    }
}

impl Field for Scope {
    const KIND: &'static str = "string";
    fn value(&self) -> impl Value {
        self.as_str()
    }
}

impl Field for RevocationReason {
    const KIND: &'static str = "string";
    fn value(&self) -> impl Value {
        tracing::field::debug(*self)
    }
}

/// Scopes separated by spaces, without an allocation.
struct Joined<'a>(&'a BTreeSet<Scope>);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { " " })?;
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

impl Field for &BTreeSet<Scope> {
    const KIND: &'static str = "string, separated by spaces";
    fn value(&self) -> impl Value {
        tracing::field::display(Joined(self))
    }
}

impl Field for &[String] {
    const KIND: &'static str = "string, separated by spaces";
    fn value(&self) -> impl Value {
        self.join(" ")
    }
}

impl<T: Field> Field for Option<T> {
    const KIND: &'static str = T::KIND;
    const OPTIONAL: bool = true;
    fn value(&self) -> impl Value {
        self.as_ref().map(T::value)
    }
}
