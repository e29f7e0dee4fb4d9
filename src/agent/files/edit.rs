//! Replacing text in a file, where it is certain what is meant.

use super::{
    fail, hint,
    limits::MAX_BYTES,
    tree::{Access, Spot, Tree},
    write,
};
use crate::agent::protocol::{EditFile, Edited, Failure, FailureKind};
use similar::{ChangeTag, TextDiff};
use std::{borrow::Cow, fmt::Write as _, io::Read as _, path::Path, time::Duration};

/// How many places are counted where one is wanted.
const COUNTED: usize = 100;
/// How many of them are named.
const NAMED: usize = 5;
/// How many lines of a diff are shown.
const DIFF_LINES: usize = 200;
/// How many lines a file may have for a diff: each takes memory, however short it is.
const DIFFED_LINES: usize = 100_000;
/// How many bytes of each of them.
const DIFF_WIDTH: usize = 500;
/// How long the shortest diff is looked for; what is found by then is as true, only longer.
const DIFF_PATIENCE: Duration = Duration::from_millis(500);

/// `POST /files/edit`.
pub(super) fn edit(tree: &Tree, request: &EditFile) -> Result<Edited, Failure> {
    let spot = tree.follow(&request.path, Access::Change)?;
    let path = spot.path.clone();
    let _held = tree.hold(&path);
    let text = load(&spot)?;
    let change = Change::in_text(&text, &request.old_text, &request.new_text);
    let replacements = change.places(&text, request, &path)?;
    let added = change.new.len() as u64 * replacements;
    write::check_size(text.len() as u64 - change.old.len() as u64 * replacements + added)?;
    let count = if request.replace_all { usize::MAX } else { 1 };
    let edited = text.replacen(change.old.as_ref(), &change.new, count);
    write::replace(spot, edited.as_bytes(), None)?;
    let path = path.to_string_lossy().into_owned();
    Ok(Edited { diff: diff(&path, &text, &edited), path, replacements })
}

fn load(spot: &Spot) -> Result<String, Failure> {
    let (file, metadata) = spot.open()?;
    let path = spot.path.as_path();
    if metadata.len() > MAX_BYTES {
        return Err(FailureKind::TooLarge.because(format!(
            "{} has {} bytes, and at most {MAX_BYTES} can be edited: use a command such as sed",
            path.display(),
            metadata.len()
        )));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(|error| fail::io("read", path, &error))?;
    String::from_utf8(bytes)
        .map_err(|_| fail::conflict(format!("{} is no text in UTF-8: use a command to change it", path.display())))
}

/// What is to be replaced by what, with the file's own line ends.
struct Change<'a> {
    old: Cow<'a, str>,
    new: Cow<'a, str>,
}

impl<'a> Change<'a> {
    /// Whoever writes line feeds means the file's line ends, whether those are LF or CRLF. Whoever writes a carriage
    /// return means exactly that.
    fn in_text(text: &str, old: &'a str, new: &'a str) -> Self {
        let crlf = text.matches("\r\n").count();
        let plain = !old.contains('\r') && !new.contains('\r');
        let all_crlf = crlf > 0 && crlf == text.matches('\n').count();
        if plain && (all_crlf || crlf > 0 && old.contains('\n') && !text.contains(old)) {
            return Self { old: old.replace('\n', "\r\n").into(), new: new.replace('\n', "\r\n").into() };
        }
        Self { old: old.into(), new: new.into() }
    }

    /// How many places will be changed; a failure that helps where that is not what was meant.
    fn places(&self, text: &str, request: &EditFile, path: &Path) -> Result<u64, Failure> {
        let path = path.display();
        if request.old_text.is_empty() {
            return Err(fail::invalid("old_text is empty: say what is to be replaced; write_file writes a whole file"));
        }
        if self.old == self.new {
            return Err(fail::invalid("old_text and new_text are the same: nothing would change"));
        }
        let places = places(text, &self.old);
        let Some((first, rest)) = places.split_first() else {
            let hint = hint::nearest(text, &request.old_text);
            return Err(fail::conflict(format!("old_text is not in {path}: {hint}")));
        };
        if request.replace_all {
            return Ok(text.matches(self.old.as_ref()).count() as u64);
        }
        if rest.is_empty() {
            return Ok(1);
        }
        let mut lines = String::new();
        for place in std::iter::once(first).chain(rest).take(NAMED) {
            let separator = if lines.is_empty() { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(lines, "{separator}{}", hint::line_at(text, *place));
        }
        let count = if places.len() == COUNTED { format!("at least {COUNTED}") } else { places.len().to_string() };
        let more = if places.len() > NAMED { ", …" } else { "" };
        Err(fail::conflict(format!(
            "old_text is {count} times in {path}, at the lines {lines}{more}: add lines around it until it is there \
             once, or set replace_all"
        )))
    }
}

/// Where `old` begins; places that overlap count too, as either could be meant.
fn places(text: &str, old: &str) -> Vec<usize> {
    let step = old.chars().next().map_or(1, char::len_utf8);
    let mut places = Vec::new();
    let mut from = 0;
    while let Some(found) = text.get(from..).and_then(|rest| rest.find(old)).filter(|_| places.len() < COUNTED) {
        places.push(from + found);
        from += found + step;
    }
    places
}

/// A unified diff, shortened where it is long.
fn diff(path: &str, before: &str, after: &str) -> String {
    let name = path.trim_start_matches('/');
    let mut text = format!("--- a/{name}\n+++ b/{name}\n");
    if [before, after].iter().any(|side| side.split_inclusive('\n').nth(DIFFED_LINES).is_some()) {
        text.push_str("[… the file has too many lines for a diff …]\n");
        return text;
    }
    // Lines end with a line feed and nothing else, as for `patch`.
    let (before, after): (Vec<_>, Vec<_>) =
        (before.split_inclusive('\n').collect(), after.split_inclusive('\n').collect());
    let diff = TextDiff::configure().timeout(DIFF_PATIENCE).diff_slices(&before, &after);
    let (mut shown, mut left_out) = (0, 0);
    for hunk in diff.unified_diff().iter_hunks() {
        if shown < DIFF_LINES {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", hunk.header());
        }
        for change in hunk.iter_changes() {
            if shown >= DIFF_LINES {
                left_out += 1;
                continue;
            }
            shown += 1;
            text.push(match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            });
            push_line(&mut text, change.value());
        }
    }
    if left_out > 0 {
        let _ = writeln!(text, "[… {left_out} more lines of the diff are left out …]");
    }
    text
}

fn push_line(text: &mut String, line: &str) {
    if line.len() > DIFF_WIDTH {
        let shown = line.get(..line.floor_char_boundary(DIFF_WIDTH)).unwrap_or_default();
        text.push_str(shown);
        let _ = writeln!(text, "[… {} more bytes …]", line.len() - shown.len());
        return;
    }
    text.push_str(line);
    if !line.ends_with('\n') {
        text.push_str("\n\\ No newline at end of file\n");
    }
}
