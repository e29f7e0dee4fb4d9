//! A value of an agent's configuration, whose members keep their order.

use serde_json::Value;
use std::fmt::Write as _;

/// A value of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// A text.
    Text(String),
    /// `true` or `false`.
    Flag(bool),
    /// A list of texts.
    List(Vec<String>),
    /// Members with names.
    Group(Vec<(String, Setting)>),
}

impl Setting {
    /// A text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A group with these members.
    #[must_use]
    pub fn group(members: impl IntoIterator<Item = (&'static str, Setting)>) -> Self {
        Self::Group(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The value as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Flag(flag) => (*flag).into(),
            Self::List(texts) => texts.as_slice().into(),
            Self::Group(members) => {
                Value::Object(members.iter().map(|(name, value)| (name.clone(), value.to_json())).collect())
            }
        }
    }

    /// The group as a TOML table of this name, with its groups as tables below it.
    pub(super) fn to_toml(&self, name: &str) -> String {
        let Self::Group(members) = self else { return self.to_json().to_string() };
        let mut text = format!("[{name}]");
        let groups = |value: &Setting| matches!(value, Self::Group(_));
        for (member, value) in members.iter().filter(|(_, value)| !groups(value)) {
            // Writing to a String cannot fail. JSON's texts, flags and lists are TOML too.
            let _ = write!(text, "\n{member} = {}", value.to_json());
        }
        for (member, value) in members.iter().filter(|(_, value)| groups(value)) {
            let _ = write!(text, "\n\n{}", value.to_toml(&format!("{name}.{member}")));
        }
        text
    }
}
