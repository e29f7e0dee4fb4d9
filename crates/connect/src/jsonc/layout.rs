//! The layout of a JSON document, and members formatted in that layout.

use crate::entry::Setting;
use jsonc_parser::ast::Object;
use serde_json::Value;

/// The indentation where a document does not show its own.
const DEFAULT_UNIT: &str = "  ";

pub(super) struct Layout {
    /// The line end.
    pub(super) newline: &'static str,
    /// The indentation of one level.
    pub(super) unit: String,
}

impl Layout {
    /// The layout of a text: its first line end, and the indentation of its first member.
    pub(super) fn of(text: &str, root: Option<&Object<'_>>) -> Self {
        let first = text.split_once('\n').map(|(line, _)| line);
        let newline = if first.is_some_and(|line| line.ends_with('\r')) { "\r\n" } else { "\n" };
        let unit = root.and_then(|root| {
            let own = own_indent(text, root.properties.first()?.range.start)?;
            own.strip_prefix(indent_of(text, root.range.start)).filter(|unit| !unit.is_empty())
        });
        Self { newline, unit: unit.unwrap_or(DEFAULT_UNIT).to_owned() }
    }

    /// A setting whose first line is on a line of the given indentation.
    pub(super) fn lines(&self, setting: &Setting, indent: &str) -> String {
        let Setting::Group(members) = setting else { return line(setting) };
        let newline = self.newline;
        let inner = format!("{indent}{}", self.unit);
        let members: Vec<String> = members
            .iter()
            .map(|(name, value)| format!("{newline}{inner}{}: {}", string(name), self.lines(value, &inner)))
            .collect();
        format!("{{{}{newline}{indent}}}", members.join(","))
    }
}

/// A setting without line ends.
pub(super) fn line(setting: &Setting) -> String {
    match setting {
        Setting::Text(text) => string(text),
        Setting::Flag(flag) => flag.to_string(),
        Setting::List(texts) => {
            let texts: Vec<String> = texts.iter().map(|text| string(text)).collect();
            format!("[{}]", texts.join(", "))
        }
        Setting::Group(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{}: {}", string(name), line(value))).collect();
            format!("{{{}}}", members.join(", "))
        }
    }
}

/// A text in quotation marks.
pub(super) fn string(text: &str) -> String {
    Value::from(text).to_string()
}

/// The indentation of the line of `offset`.
pub(super) fn indent_of(text: &str, offset: usize) -> &str {
    let line = line_of(text, offset);
    line.get(..line.len() - line.trim_start_matches(super::BLANK).len()).unwrap_or_default()
}

/// The indentation before `offset`, if nothing else is before it on its line.
pub(super) fn own_indent(text: &str, offset: usize) -> Option<&str> {
    let line = line_of(text, offset);
    line.trim_start_matches(super::BLANK).is_empty().then_some(line)
}

/// The line of `offset`, up to there.
fn line_of(text: &str, offset: usize) -> &str {
    text.get(..offset).and_then(|before| before.rsplit('\n').next()).unwrap_or_default()
}
