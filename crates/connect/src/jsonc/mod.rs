//! Edits of JSON with comments: one member is set or removed, and every byte outside it stays.
//!
//! The parser tells where members, commas and comments are; an edit replaces ranges of the text. So comments, trailing
//! commas, the order of members, indentation and line ends are kept without being understood. What JSON (RFC 8259) does not
//! have beyond comments and trailing commas, such as names without quotation marks, is refused.

mod layout;

use crate::{Change, EditError, entry::Setting, error::position};
use jsonc_parser::{
    CollectOptions, CommentCollectionStrategy, ParseOptions,
    ast::{Object, ObjectProp, Value},
    errors::ParseError,
    parse_to_ast,
    tokens::{Token, TokenAndRange},
};
use layout::Layout;
use std::ops::Range;

/// The white space that this module handles between tokens. Other white space that the parser accepts is left unchanged.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];
const BLANK: [char; 2] = [' ', '\t'];

/// Sets the member `name` of the object at `path`, which is created if it is missing. A member with more than `entry` stays.
pub(crate) fn set(text: &str, path: &[&str], name: &str, entry: &Setting) -> Result<Change, EditError> {
    let document = Document::parse(text)?;
    let Some(root) = document.root()? else {
        return Ok(Change::Added(document.with_root(&nested(path, name, entry))));
    };
    let mut object = root;
    for (depth, (key, rest)) in steps(path).enumerate() {
        match member(object, key) {
            None => return Ok(Change::Added(document.insert(object, key, &nested(rest, name, entry)))),
            Some((_, property)) => match &property.value {
                Value::Object(inner) => object = inner,
                _ => return Err(not_an_object(path.get(..=depth).unwrap_or(path))),
            },
        }
    }
    Ok(match member(object, name) {
        None => Change::Added(document.insert(object, name, entry)),
        Some((_, property)) if has(&property.value, entry) => Change::AlreadyConnected,
        Some((_, property)) => Change::Replaced(document.replace(property, entry)),
    })
}

/// Removes the member `name` of the object at `path`; `None` if there is none. The object stays, even if it is empty then.
pub(crate) fn remove(text: &str, path: &[&str], name: &str) -> Result<Option<String>, EditError> {
    let document = Document::parse(text)?;
    let Some(object) = document.object(path) else { return Ok(None) };
    let Some((index, property)) = member(object, name) else { return Ok(None) };
    let shorter = document.without(object, index, property);
    // A name may occur twice; clients use the last.
    Ok(Some(remove(&shorter, path, name)?.unwrap_or(shorter)))
}

/// Whether the entry `name` is, or comes, in `mcp.servers`, where opencode 2 has the servers. Each `type` in `mcp` shows a
/// server of opencode 1, which may have that name.
pub(crate) fn is_opencode_2(text: &str, name: &str) -> Result<bool, EditError> {
    let document = Document::parse(text)?;
    let typed = |path: &[&str]| document.object(path).map(|object| object.get_string("type").is_some());
    Ok(typed(&["mcp", "servers"]) == Some(false) && typed(&["mcp", name]) != Some(true))
}

struct Document<'a> {
    text: &'a str,
    root: Option<Value<'a>>,
    /// Comments too, in the order of the text.
    tokens: Vec<TokenAndRange<'a>>,
    layout: Layout,
}

/// A range of the text, and what replaces it.
type Edit = (Range<usize>, String);

impl<'a> Document<'a> {
    fn parse(text: &'a str) -> Result<Self, EditError> {
        let collect = CollectOptions { comments: CommentCollectionStrategy::AsTokens, tokens: true };
        let options = ParseOptions {
            allow_comments: true,
            allow_trailing_commas: true,
            allow_loose_object_property_names: false,
            allow_missing_commas: false,
            allow_single_quoted_strings: false,
            allow_hexadecimal_numbers: false,
            allow_unary_plus_numbers: false,
            allow_bare_decimal_point_numbers: false,
            allow_extended_string_escapes: false,
            allow_non_finite_numbers: false,
        };
        let parsed = parse_to_ast(text, &collect, &options).map_err(|error| syntax(text, &error))?;
        let layout = Layout::of(text, parsed.value.as_ref().and_then(Value::as_object));
        Ok(Self { text, root: parsed.value, tokens: parsed.tokens.unwrap_or_default(), layout })
    }

    /// The object that the document is; `None` if it has no value.
    fn root(&self) -> Result<Option<&Object<'a>>, EditError> {
        match &self.root {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(not_an_object(&[])),
        }
    }

    fn object(&self, path: &[&str]) -> Option<&Object<'a>> {
        let root = self.root.as_ref().and_then(Value::as_object)?;
        path.iter().try_fold(root, |object, key| member(object, key)?.1.value.as_object())
    }

    /// The text with an object after its comments.
    fn with_root(&self, root: &Setting) -> String {
        let newline = self.layout.newline;
        let before = if self.text.trim_matches(SPACE).is_empty() { "" } else { self.text };
        let separator = if before.is_empty() || before.ends_with('\n') { "" } else { newline };
        format!("{before}{separator}{}{newline}", self.layout.lines(root, ""))
    }

    /// The text with one member more at the end of `object`.
    fn insert(&self, object: &Object<'_>, key: &str, value: &Setting) -> String {
        let (open, close) = (object.range.start + 1, object.range.end - 1);
        // After the last member, comma or comment.
        let end = open + self.slice(open..close).trim_end_matches(SPACE).len();
        let name = layout::string(key);
        let Some(last) = object.properties.last() else {
            let (line, newline) = (self.indent_of(object.range.start), self.layout.newline);
            let indent = format!("{line}{}", self.layout.unit);
            let value = self.layout.lines(value, &indent);
            let closing =
                if self.slice(end..close).contains('\n') { String::new() } else { format!("{newline}{line}") };
            return self.splice(vec![(end..end, format!("{newline}{indent}{name}: {value}{closing}"))]);
        };
        let comma = self.comma_after(last.range.end);
        let trailing = if comma.is_some() { "," } else { "" };
        let mut edits = Vec::new();
        if comma.is_none() {
            edits.push((last.range.end..last.range.end, ",".to_owned()));
        }
        if self.has_lines(object, last) {
            let indent = self
                .own_indent(last.range.start)
                .map_or_else(|| format!("{}{}", self.indent_of(object.range.start), self.layout.unit), str::to_owned);
            let value = self.layout.lines(value, &indent);
            edits.push((end..end, format!("{}{indent}{name}: {value}{trailing}", self.layout.newline)));
        } else {
            let at = comma.map_or(last.range.end, |comma| comma.end);
            edits.push((at..at, format!(" {name}: {}{trailing}", layout::line(value))));
        }
        self.splice(edits)
    }

    /// The text with another value of a member.
    fn replace(&self, property: &ObjectProp<'_>, value: &Setting) -> String {
        let old = range(&property.value);
        let text = match self.own_indent(property.range.start) {
            Some(indent) => self.layout.lines(value, indent),
            None => layout::line(value),
        };
        self.splice(vec![(old, text)])
    }

    /// The text without a member. Comments stay.
    fn without(&self, object: &Object<'_>, index: usize, property: &ObjectProp<'_>) -> String {
        let (open, close) = (object.range.start + 1, object.range.end - 1);
        let comma = self.comma_after(property.range.end);
        let mut edits = Vec::new();
        let previous = index.checked_sub(1).and_then(|index| object.properties.get(index));
        if let (None, Some(previous)) = (&comma, previous) {
            edits.extend(self.comma_after(previous.range.end).map(|comma| (comma, String::new())));
        }
        let mut end = property.range.end;
        if let Some(comma) = comma {
            if self.slice(end..comma.start).trim_matches(SPACE).is_empty() {
                end = comma.end;
            } else {
                // A comment is between them.
                edits.push((comma, String::new()));
            }
        }
        let before = self.slice(0..property.range.start).trim_end_matches(SPACE).len();
        let gap = self.slice(before..property.range.start);
        let rest = self.slice(end..self.text.len()).trim_start_matches(BLANK);
        let line_ends = rest.starts_with('\n') || rest.starts_with("\r\n");
        let object_ends = rest.starts_with('}') && !self.is_line_comment(before);
        let start = if !gap.contains('\n') || line_ends || object_ends { before } else { property.range.start };
        if !line_ends && !object_ends && (index == 0 || start != before) {
            end = self.text.len() - rest.len();
        }
        if previous.is_none()
            && format!("{}{}", self.slice(open..start), self.slice(end..close)).trim_matches(SPACE).is_empty()
        {
            return self.splice(vec![(open..close, String::new())]);
        }
        edits.push((start..end, String::new()));
        self.splice(edits)
    }

    /// Whether the members of an object have lines of their own.
    fn has_lines(&self, object: &Object<'_>, last: &ObjectProp<'_>) -> bool {
        let first = object.properties.first().map_or(last.range.start, |first| first.range.start);
        let before = self.slice(object.range.start..first);
        before.contains('\n') || self.slice(last.range.end..object.range.end).contains('\n')
    }

    /// The comma that follows a member which ends at `offset`.
    fn comma_after(&self, offset: usize) -> Option<Range<usize>> {
        let next = self.tokens.partition_point(|token| token.range.start < offset);
        let mut tokens = self.tokens.get(next..)?.iter();
        let token = tokens.find(|of| !matches!(of.token, Token::CommentLine(_) | Token::CommentBlock(_)))?;
        (token.token == Token::Comma).then_some(token.range.start..token.range.end)
    }

    /// Whether the character before `offset` belongs to a comment that a line break ends.
    fn is_line_comment(&self, offset: usize) -> bool {
        let next = self.tokens.partition_point(|token| token.range.start < offset);
        let last = next.checked_sub(1).and_then(|last| self.tokens.get(last));
        last.is_some_and(|last| matches!(last.token, Token::CommentLine(_)) && offset <= last.range.end)
    }

    /// The indentation of the line of `offset`.
    fn indent_of(&self, offset: usize) -> &'a str {
        layout::indent_of(self.text, offset)
    }

    /// The indentation before `offset`, if nothing else is before it on its line.
    fn own_indent(&self, offset: usize) -> Option<&'a str> {
        layout::own_indent(self.text, offset)
    }

    fn slice(&self, range: Range<usize>) -> &'a str {
        self.text.get(range).unwrap_or_default()
    }

    /// The text with edits, which do not overlap.
    fn splice(&self, mut edits: Vec<Edit>) -> String {
        edits.sort_by_key(|(range, _)| (range.start, range.end));
        let mut spliced = String::with_capacity(self.text.len());
        let mut copied = 0;
        for (range, new) in edits {
            spliced.push_str(self.slice(copied..range.start));
            spliced.push_str(&new);
            copied = range.end;
        }
        spliced.push_str(self.slice(copied..self.text.len()));
        spliced
    }
}

/// The last member of a name, which is the one that JSON parsers use, with its index.
fn member<'o, 'a>(object: &'o Object<'a>, name: &str) -> Option<(usize, &'o ObjectProp<'a>)> {
    object.properties.iter().enumerate().rfind(|(_, property)| property.name.as_str() == name)
}

/// Whether a value has everything that `wanted` has: the same members, and the same beginning of a list.
fn has(value: &Value<'_>, wanted: &Setting) -> bool {
    match (value, wanted) {
        (Value::StringLit(value), Setting::Text(wanted)) => value.value == *wanted,
        (Value::BooleanLit(value), Setting::Flag(wanted)) => value.value == *wanted,
        (Value::Array(value), Setting::List(wanted)) => {
            let texts = value.elements.iter().map(|element| element.as_string_lit().map(|text| text.value.as_ref()));
            texts.take(wanted.len()).eq(wanted.iter().map(|text| Some(text.as_str())))
        }
        (Value::Object(value), Setting::Group(wanted)) => wanted
            .iter()
            .all(|(name, wanted)| member(value, name).is_some_and(|(_, property)| has(&property.value, wanted))),
        _ => false,
    }
}

/// The entry in the objects that lead to it.
fn nested(path: &[&str], name: &str, entry: &Setting) -> Setting {
    let within = |inner: Setting, name: &str| Setting::Group(vec![(name.to_owned(), inner)]);
    path.iter().rev().fold(within(entry.clone(), name), |inner, key| within(inner, key))
}

/// Each key of a path, with the keys after it.
fn steps<'p>(path: &'p [&'p str]) -> impl Iterator<Item = (&'p str, &'p [&'p str])> {
    (0..path.len()).filter_map(|at| path.get(at..)?.split_first().map(|(key, rest)| (*key, rest)))
}

fn range(value: &Value<'_>) -> Range<usize> {
    let range = match value {
        Value::StringLit(of) => of.range,
        Value::NumberLit(of) => of.range,
        Value::BooleanLit(of) => of.range,
        Value::Object(of) => of.range,
        Value::Array(of) => of.range,
        Value::NullKeyword(of) => of.range,
    };
    range.start..range.end
}

fn not_an_object(path: &[&str]) -> EditError {
    let path = if path.is_empty() { "the whole document".to_owned() } else { path.join(".") };
    EditError::WrongType { path, expected: "an object" }
}

fn syntax(text: &str, error: &ParseError) -> EditError {
    let (line, column) = position(text, error.range().start);
    EditError::Syntax { format: "JSON", line, column, problem: error.kind().to_string().to_lowercase() }
}

#[cfg(test)]
mod tests;
