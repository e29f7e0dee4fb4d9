//! Edits of TOML 1.1: one table of `mcp_servers` is set or removed, and every byte outside it stays.
//!
//! A table may stand anywhere in a TOML document, so a new one is appended. An existing one is found by the positions that
//! the parser reports; whole lines are removed, however the table is written.

use crate::{Change, EditError, entry::Setting, error::position};
use std::ops::Range;
use toml_edit::{Document, Item, Key, Table, TomlError, Value};

/// The table of the servers.
const SERVERS: &str = "mcp_servers";

/// Sets the table `name`. One that has more than `entry` stays.
pub(crate) fn set(text: &str, name: &str, entry: &Setting) -> Result<Change, EditError> {
    let document = parse(text)?;
    let servers = match document.as_table().get(SERVERS) {
        None => None,
        Some(Item::Table(servers)) => Some(servers),
        Some(_) => {
            return Err(EditError::WrongType { path: SERVERS.to_owned(), expected: "a table with a [header]" });
        }
    };
    let newline = if text.split_once('\n').is_some_and(|(line, _)| line.ends_with('\r')) { "\r\n" } else { "\n" };
    let block = block(name, entry, newline);
    let Some((key, item)) = servers.and_then(|servers| servers.get_key_value(name)) else {
        return Ok(Change::Added(append(text, &block, newline)));
    };
    if has(item, entry) {
        return Ok(Change::AlreadyConnected);
    }
    let mut pieces = pieces(text, key, item);
    let starts_with_header = |piece: &Range<usize>| slice(text, piece.clone()).trim_start().starts_with('[');
    Ok(Change::Replaced(if pieces.first().is_some_and(starts_with_header) {
        let first = pieces.remove(0);
        let shorter = without(text, &pieces);
        // The other pieces are after it.
        format!("{}{block}{}", slice(&shorter, 0..first.start), slice(&shorter, first.end..shorter.len()))
    } else {
        append(&without(text, &pieces), &block, newline)
    }))
}

/// Removes the table `name`; `None` if there is none.
pub(crate) fn remove(text: &str, name: &str) -> Result<Option<String>, EditError> {
    let document = parse(text)?;
    let servers = document.as_table().get(SERVERS).and_then(Item::as_table);
    let entry = servers.and_then(|servers| servers.get_key_value(name));
    Ok(entry.map(|(key, item)| without(text, &pieces(text, key, item))))
}

fn parse(text: &str) -> Result<Document<&str>, EditError> {
    Document::parse(text).map_err(|error| syntax(text, &error))
}

/// The message only: the error's own text has the line, in which there may be a token.
fn syntax(text: &str, error: &TomlError) -> EditError {
    let (line, column) = position(text, error.span().map_or(text.len(), |span| span.start));
    EditError::Syntax { format: "TOML", line, column, problem: error.message().to_owned() }
}

/// A table with its header, without a line end at its end.
fn block(name: &str, entry: &Setting, newline: &str) -> String {
    let header = format!("[{SERVERS}.{name}]");
    let members = match entry {
        Setting::Group(members) => members.as_slice(),
        _ => &[],
    };
    members.iter().fold(header, |block, (name, value)| format!("{block}{newline}{name} = {}", inline(value)))
}

fn inline(setting: &Setting) -> String {
    match setting {
        Setting::Text(text) => Value::from(text.as_str()).to_string(),
        Setting::Flag(flag) => flag.to_string(),
        Setting::List(texts) => {
            let texts: Vec<String> = texts.iter().map(|text| Value::from(text.as_str()).to_string()).collect();
            format!("[{}]", texts.join(", "))
        }
        Setting::Group(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{name} = {}", inline(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
    }
}

/// The text with a table after a blank line. It ends with a line end if the text did.
fn append(text: &str, block: &str, newline: &str) -> String {
    if text.is_empty() {
        format!("{block}{newline}")
    } else if text.ends_with('\n') {
        format!("{text}{newline}{block}{newline}")
    } else {
        format!("{text}{newline}{newline}{block}")
    }
}

/// Whether an item has everything that `wanted` has: the same members, and the same beginning of a list.
fn has(item: &Item, wanted: &Setting) -> bool {
    match wanted {
        Setting::Text(wanted) => item.as_str() == Some(wanted),
        Setting::Flag(wanted) => item.as_bool() == Some(*wanted),
        Setting::List(wanted) => item.as_array().is_some_and(|list| {
            list.iter().map(Value::as_str).take(wanted.len()).eq(wanted.iter().map(|text| Some(text.as_str())))
        }),
        Setting::Group(wanted) => item.as_table_like().is_some_and(|table| {
            wanted.iter().all(|(name, wanted)| table.get(name).is_some_and(|item| has(item, wanted)))
        }),
    }
}

/// The lines of an item, without the line end of the last: one range for each table with a header, and one for each key and
/// value that is written elsewhere.
fn pieces(text: &str, key: &Key, item: &Item) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    collect(key, item, None, &mut found);
    let mut lines: Vec<Range<usize>> = found.into_iter().map(|piece| whole_lines(text, &piece)).collect();
    lines.sort_by_key(|piece| (piece.start, piece.end));
    lines
}

/// Adds the ranges of an item. `within` is the index of the range of the table that has it.
fn collect(key: &Key, item: &Item, within: Option<usize>, found: &mut Vec<Range<usize>>) {
    match item {
        Item::None => {}
        Item::Value(value) => {
            let start = key.span().map_or(0, |span| span.start);
            let end = value.span().map_or(start, |span| span.end);
            match within.and_then(|table| found.get_mut(table)) {
                Some(table) => table.end = table.end.max(end),
                None => found.push(start..end),
            }
        }
        Item::Table(table) => collect_table(table, within, found),
        Item::ArrayOfTables(tables) => tables.iter().for_each(|table| collect_table(table, None, found)),
    }
}

fn collect_table(table: &Table, within: Option<usize>, found: &mut Vec<Range<usize>>) {
    let header = table.span().filter(|_| !table.is_dotted() && !table.is_implicit());
    let within = match header {
        Some(header) => {
            found.push(header);
            Some(found.len() - 1)
        }
        None if table.is_dotted() => within,
        None => None,
    };
    for (name, item) in table {
        if let Some(key) = table.key(name) {
            collect(key, item, within, found);
        }
    }
}

/// A range with the rest of its first and last lines, without the last line end.
fn whole_lines(text: &str, range: &Range<usize>) -> Range<usize> {
    let start = slice(text, 0..range.start).rfind('\n').map_or(0, |at| at + 1);
    let rest = slice(text, range.end..text.len());
    let length =
        rest.find('\n').map_or(rest.len(), |at| rest.get(..at).map_or(0, |line| line.trim_end_matches('\r').len()));
    start..range.end + length
}

/// The text without lines: with the line end after them, or before them at the end of a text without one. A table takes one
/// blank line before it along.
fn without(text: &str, pieces: &[Range<usize>]) -> String {
    let mut kept = text.to_owned();
    for piece in pieces.iter().rev() {
        let is_header = slice(&kept, piece.clone()).trim_start().starts_with('[');
        let (mut before, after) = (slice(&kept, 0..piece.start), slice(&kept, piece.end..kept.len()));
        let rest = line_end(after).and_then(|end| after.strip_prefix(end));
        if rest.is_none() {
            before = without_line_end(before);
        }
        let blank = if rest.is_none() {
            before.ends_with('\n')
        } else {
            without_line_end(before).ends_with('\n') || matches!(before, "\n" | "\r\n")
        };
        if is_header && blank {
            before = without_line_end(before);
        }
        kept = format!("{before}{}", rest.unwrap_or_default());
    }
    kept
}

/// The line end that a text begins with.
fn line_end(text: &str) -> Option<&'static str> {
    ["\r\n", "\n"].into_iter().find(|end| text.starts_with(end))
}

fn without_line_end(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}

fn slice(text: &str, range: Range<usize>) -> &str {
    text.get(range).unwrap_or_default()
}

#[cfg(test)]
mod tests;
