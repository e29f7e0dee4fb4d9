//! The text form of results for models: compact text in addition to the JSON, for clients that show only text. Long
//! texts of a result are not copied: they are slices of the JSON, where they are already encoded as string content.

use bytes::Bytes;
use portcullis_agent::protocol::{
    Amount, CommandResult, Edited, Encoding, FileContent, FileKind, FileList, Moved, Process, ProcessOutput, Removed,
    SearchResults, Usage, Written,
};
use portcullis_workspaces::{Template, TemplateParameter, Workspace, WorkspaceLogs};
use std::fmt::Write as _;

/// The text of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// The JSON of the result.
    Json,
    /// Text in pieces.
    Pieces(Vec<Piece>),
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Literal text.
    Literal(String),
    /// The text of the result's member with this name.
    Member(&'static str),
}

impl Text {
    /// The text in pieces of JSON string content; `None` if the text is the JSON.
    pub(super) fn written(self, json: &Bytes) -> Option<Vec<Bytes>> {
        let Self::Pieces(pieces) = self else { return None };
        let written = pieces.into_iter().map(|piece| match piece {
            Piece::Literal(text) => {
                let quoted = Bytes::from(serde_json::to_vec(&text).unwrap_or_default());
                quoted.slice(1..quoted.len().max(2) - 1)
            }
            Piece::Member(name) => member(json, name),
        });
        Some(written.collect())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::Pieces(vec![Piece::Literal(text)])
    }
}

/// The raw content of a string member of an object. Quotation marks within strings are escaped, so the search matches
/// only the member.
fn member(json: &Bytes, name: &str) -> Bytes {
    let found = [",", "{"].iter().find_map(|before| {
        let start = format!("{before}\"{name}\":\"");
        let at = json.windows(start.len()).position(|window| window == start.as_bytes())?;
        Some(at + start.len())
    });
    let Some(start) = found else { return Bytes::new() };
    let rest = json.get(start..).unwrap_or_default();
    let (mut end, mut escaped) = (0, false);
    for byte in rest {
        match byte {
            b'"' if !escaped => break,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
        end += 1;
    }
    json.slice(start..start + end)
}

/// Collects the pieces of a text.
#[derive(Default)]
struct Pieces {
    finished: Vec<Piece>,
    literal: String,
    /// Whether the last piece ended within a line.
    begun: bool,
}

impl Pieces {
    /// Adds text that starts a new line.
    fn line(&mut self, line: &str) {
        if self.begun || !self.literal.is_empty() && !self.literal.ends_with('\n') {
            self.literal.push('\n');
        }
        self.begun = false;
        self.literal.push_str(line);
    }

    /// Adds the text of a member of the result.
    fn member(&mut self, name: &'static str, text: &str) {
        if text.is_empty() {
            return;
        }
        self.line("");
        self.finished.push(Piece::Literal(std::mem::take(&mut self.literal)));
        self.finished.push(Piece::Member(name));
        self.begun = !text.ends_with('\n');
    }

    fn done(mut self) -> Text {
        self.finished.push(Piece::Literal(self.literal));
        Text::Pieces(self.finished)
    }
}

/// The exit code, then the output.
pub(super) fn command(result: &CommandResult) -> Text {
    let mut text = Pieces::default();
    let duration = result.duration_ms;
    match (result.exit_code, result.process_id) {
        (Some(code), _) => text.line(&format!("exit code {code}, {duration} ms")),
        (None, Some(_)) => text.line("it runs in the background"),
        (None, None) => text.line("it did not end"),
    }
    if result.timed_out {
        text.literal.push_str(", timed out");
    }
    text.member("stdout", &result.stdout);
    if !result.stderr.is_empty() {
        text.line("--- stderr");
    }
    text.member("stderr", &result.stderr);
    if let Some(id) = result.process_id {
        text.line(&format!("[process {id}]"));
    }
    for (stream, file) in [("stdout", &result.stdout_file), ("stderr", &result.stderr_file)] {
        if let Some(file) = file {
            text.line(&format!("[all of {stream}: {file}]"));
        }
    }
    if let Some(note) = &result.note {
        text.line(&format!("[{note}]"));
    }
    text.done()
}

/// The output of a process, and its state.
pub(super) fn output(output: &ProcessOutput) -> Text {
    let mut text = Pieces::default();
    if output.skipped_bytes > 0 {
        text.line(&format!("[{} bytes are no longer kept]", output.skipped_bytes));
    }
    text.member("output", &output.output);
    let state = match (output.running, output.exit_code) {
        (true, None) => "running".to_owned(),
        (true, Some(code)) => format!("it ended with exit code {code}; what it started still runs"),
        (false, Some(code)) => format!("ended with exit code {code}"),
        (false, None) => "ended".to_owned(),
    };
    let more = match (output.truncated, output.matched) {
        (_, Some(false)) => "; the awaited output has not appeared",
        (true, _) => "; there is more",
        _ => "",
    };
    text.line(&format!("[{state}{more}; next_offset {}]", output.next_offset));
    for (stream, file) in [("stdout", &output.stdout_file), ("stderr", &output.stderr_file)] {
        if let Some(file) = file {
            text.line(&format!("[all of {stream}: {file}]"));
        }
    }
    text.done()
}

/// The content of a file, and how to read on.
pub(super) fn content(file: &FileContent) -> Text {
    let mut text = Pieces::default();
    if file.encoding == Encoding::Base64 {
        text.line(&format!("[{}, {}, {} bytes, in base64]", file.path, file.mime_type, file.size));
    }
    text.member("content", &file.content);
    match (file.content.is_empty(), file.truncated) {
        (true, false) if file.size == 0 => text.line(&format!("[{} is empty]", file.path)),
        (_, true) => {
            let lines = file.start_line.zip(file.end_line).map(|(first, last)| match file.total_lines {
                Some(total) => format!("lines {first}-{last} of {total}"),
                None => format!("lines {first}-{last}"),
            });
            let what = lines.unwrap_or_else(|| "a part".to_owned());
            let next = match (file.next_start_line, file.next_start_byte) {
                (Some(line), _) => format!("; continue with start_line {line}"),
                (None, Some(byte)) => format!("; continue with start_byte {byte}"),
                (None, None) => String::new(),
            };
            text.line(&format!("[{what}, {} bytes in all{next}]", file.size));
        }
        _ => {}
    }
    text.done()
}

/// One line for each entry; folders end with a slash.
pub(super) fn files(list: &FileList) -> Text {
    let mut text = String::new();
    for entry in &list.entries {
        text.push_str(&entry.path);
        text.push_str(match entry.kind {
            FileKind::File => "",
            FileKind::Folder => "/",
            FileKind::Link => " (link)",
            FileKind::Other => " (no file)",
        });
        // Writing to a String cannot fail.
        if let Some(size) = entry.size {
            let _ = write!(text, "  {size}");
        }
        if let Some(at) = entry.modified_at {
            let _ = write!(text, "  {at}");
        }
        text.push('\n');
    }
    text.push_str(&page(list.entries.len(), "entries", list.total, list.next_offset, list.truncated));
    if list.entries.is_empty() && list.total == Some(0) {
        text = format!("{} is empty", list.path);
    }
    text.into()
}

/// `PATH:LINE:TEXT` for each match.
pub(super) fn matches(results: &SearchResults) -> Text {
    let mut text = String::new();
    for found in &results.matches {
        let _ = writeln!(text, "{}:{}:{}", found.path, found.line, found.text);
    }
    text.push_str(&page(results.matches.len(), "matches", results.total, results.next_offset, results.truncated));
    if let Some(note) = &results.note {
        let _ = write!(text, "[{note}]");
    }
    if text.is_empty() {
        text.push_str("no matches");
    }
    text.into()
}

/// The range of a page in its list, and how to get the next page.
fn page(count: usize, what: &str, total: Option<u64>, next: Option<u64>, truncated: bool) -> String {
    match (next, total) {
        (Some(next), Some(total)) => {
            let first = next - count as u64 + 1;
            format!("[{first}-{next} of {total} {what}; the next ones: offset {next}]\n")
        }
        (Some(next), None) => format!("[{what} up to {next}; there are more: offset {next}]\n"),
        (None, _) if truncated => format!("[not all {what} are shown: specify a smaller folder]\n"),
        (None, _) => String::new(),
    }
}

pub(super) fn edited(edited: &Edited) -> Text {
    let mut text = Pieces::default();
    let noun = if edited.replacements == 1 { "occurrence" } else { "occurrences" };
    text.line(&format!("{}: {} {noun} changed", edited.path, edited.replacements));
    text.member("diff", &edited.diff);
    text.done()
}

pub(super) fn written(written: &Written) -> Text {
    let how = if written.created { "new" } else { "it existed before" };
    format!("{}: {} bytes, {how}", written.path, written.size).into()
}

pub(super) fn moved(moved: &Moved) -> Text {
    format!("moved {} to {}", moved.from, moved.to).into()
}

pub(super) fn removed(removed: &Removed) -> Text {
    format!("removed {}", removed.path).into()
}

pub(super) fn process(process: &Process) -> String {
    let state = match (process.running, process.exit_code) {
        (true, None) => "running".to_owned(),
        (true, Some(code)) => format!("exit code {code}, but what it started still runs"),
        (false, Some(code)) => format!("ended with exit code {code}"),
        (false, None) => "ended".to_owned(),
    };
    format!("process {}: {state}, since {}: {}", process.process_id, process.started_at, process.command)
}

/// The output of a process after input.
pub(super) fn answered(process: &Process, said: &str, next_offset: u64) -> Text {
    let mut text = Pieces::default();
    text.member("output", said);
    let state = match (process.running, process.exit_code) {
        (true, _) => "running".to_owned(),
        (false, Some(code)) => format!("ended with exit code {code}"),
        (false, None) => "ended".to_owned(),
    };
    text.line(&format!("[{state}; next_offset {next_offset}]"));
    text.done()
}

pub(super) fn usage(usage: &Usage) -> Text {
    let line = |name: &str, unit: &str, amount: Amount| {
        let number =
            |number: Option<f64>, none: &str| number.map_or_else(|| none.to_owned(), |number| number.to_string());
        format!("{name}: {} of {} {unit}", number(amount.used, "unknown"), number(amount.limit, "unlimited"))
    };
    let lines =
        [line("cpu", "cores", usage.cpu), line("memory", "bytes", usage.memory), line("disk", "bytes", usage.disk)];
    lines.join("\n").into()
}

pub(super) fn logs(logs: &WorkspaceLogs) -> Text {
    let mut text = if logs.truncated { "[there are earlier lines]\n".to_owned() } else { String::new() };
    text.push_str(&logs.lines.join("\n"));
    if logs.lines.is_empty() {
        text.push_str("nothing yet");
    }
    text.into()
}

/// A workspace, in one line.
pub(super) fn workspace(workspace: &Workspace) -> String {
    let Workspace { id, name, template, owner, home, created_at, .. } = workspace;
    let status = serde_json::to_value(workspace.status).unwrap_or_default();
    let mut text = format!(
        "{name}: {}, id {id}, template {template}, home {home}, owner {owner}, made {created_at}",
        status.as_str().unwrap_or_default()
    );
    if let Some(at) = workspace.last_activity {
        let _ = write!(text, ", last activity {at}");
    }
    if let Some(at) = workspace.expires_at {
        let _ = write!(text, ", expires {at}");
    }
    if workspace.outdated {
        text.push_str(", outdated: its template has changed");
    }
    for (name, value) in &workspace.parameters {
        let _ = write!(text, ", {name}={value}");
    }
    if let Some(problem) = &workspace.problem {
        let _ = write!(text, "; {problem}");
    }
    text
}

/// A template, with a line for each parameter.
pub(super) fn template(template: &Template) -> String {
    let mut text = format!("{} ({}): {}", template.name, template.display_name, template.description);
    for parameter in &template.parameters {
        text.push_str("\n  ");
        text.push_str(&self::parameter(parameter));
    }
    text
}

fn parameter(parameter: &TemplateParameter) -> String {
    let kind = serde_json::to_value(parameter.kind).unwrap_or_default();
    let mut text = format!("{} ({}", parameter.name, kind.as_str().unwrap_or_default());
    if !parameter.options.is_empty() {
        let _ = write!(text, ": {}", parameter.options.join(", "));
    }
    if let Some(pattern) = &parameter.pattern {
        let _ = write!(text, " like {pattern}");
    }
    if let Some(minimum) = parameter.minimum {
        let _ = write!(text, ", at least {minimum}");
    }
    if let Some(maximum) = parameter.maximum {
        let _ = write!(text, ", at most {maximum}");
    }
    match &parameter.default {
        Some(default) => drop(write!(text, ", default {default:?}")),
        None => text.push_str(", required"),
    }
    let _ = write!(text, "): {}", parameter.description);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: Text, json: &Bytes) -> String {
        let quoted = [b"\"", &*text.written(json).unwrap().concat(), b"\""].concat();
        serde_json::from_slice(&quoted).unwrap()
    }

    #[test]
    fn members_are_found_where_they_are() {
        let hard = "\",\"stdout\":\"no \\\",\"stderr\":\" \u{1}é\n\\";
        let result = CommandResult {
            exit_code: Some(0),
            stdout: hard.to_owned(),
            stderr: "oops\\".to_owned(),
            note: Some("\"quoted\"".to_owned()),
            ..CommandResult::default()
        };
        let json = Bytes::from(serde_json::to_vec(&result).unwrap());
        assert_eq!(
            read(command(&result), &json),
            format!("exit code 0, 0 ms\n{hard}\n--- stderr\noops\\\n[\"quoted\"]")
        );
        let first = Bytes::from_static(br#"{"stdout":"a\"b","x":{"stdout":"c"}}"#);
        assert_eq!(member(&first, "stdout"), r#"a\"b"#);
        assert_eq!(member(&first, "other"), "");
    }

    #[test]
    fn a_part_of_a_file_says_how_to_read_on() {
        let file = FileContent {
            path: "a".to_owned(),
            content: "one\ntwo".to_owned(),
            size: 100,
            start_line: Some(1),
            end_line: Some(2),
            total_lines: Some(9),
            truncated: true,
            next_start_line: Some(3),
            ..FileContent::default()
        };
        let shown = |file: &FileContent| read(content(file), &serde_json::to_vec(file).unwrap().into());
        assert_eq!(shown(&file), "one\ntwo\n[lines 1-2 of 9, 100 bytes in all; continue with start_line 3]");
        let whole = FileContent { truncated: false, next_start_line: None, ..file.clone() };
        assert_eq!(shown(&whole), "one\ntwo");
        let bytes = FileContent { encoding: Encoding::Base64, mime_type: "image/png".to_owned(), ..whole };
        assert_eq!(shown(&bytes), "[a, image/png, 100 bytes, in base64]\none\ntwo");
        assert_eq!(shown(&FileContent { path: "b".to_owned(), ..FileContent::default() }), "[b is empty]");
    }

    #[test]
    fn pages_say_where_they_end() {
        assert_eq!(page(2, "matches", Some(9), Some(4), true), "[3-4 of 9 matches; the next ones: offset 4]\n");
        assert_eq!(page(2, "matches", None, Some(2), true), "[matches up to 2; there are more: offset 2]\n");
        assert_eq!(page(2, "matches", Some(2), None, false), "");
    }
}
