//! Replaces text in a file, if the position is unambiguous.

use crate::files::{
    fail, hint,
    limits::MAX_BYTES,
    tree::{Access, Spot, Tree},
    write,
};
use crate::protocol::{EditFile, Edited, Failure, FailureKind};
use similar::{
    DiffOp, DiffTag,
    algorithms::{Capture, Compact, IdentifyDistinct, Replace, myers},
    udiff::UnifiedHunkHeader,
};
use std::{borrow::Cow, fmt::Write as _, io::Read as _, path::Path, time::Duration};
use tokio::time::Instant;

const CRLF: &str = "\r\n";
/// The number of matches after which counting stops, if only one is allowed.
const COUNTED: usize = 100;
/// The number of matches that an error lists.
const NAMED: usize = 5;
/// The number of diff lines that are shown.
const DIFF_LINES: usize = 200;
/// The number of context lines around a change.
const CONTEXT: usize = 3;
/// The number of lines up to which a diff is computed: each line takes memory, however short it is.
const DIFFED_LINES: usize = 100_000;
/// The number of bytes that are shown of each line of a diff.
const DIFF_WIDTH: usize = 500;
/// The time to search for the shortest diff. After that, the diff may be longer, but it is still correct.
const DIFF_TIME_LIMIT: Duration = Duration::from_millis(500);

/// `POST /files/edit`.
pub(super) fn edit(tree: &Tree, request: &EditFile) -> Result<Edited, Failure> {
    let spot = tree.follow(&request.path, Access::Change)?;
    let path = spot.path.clone();
    let _held = tree.hold(&path);
    let text = load(&spot)?;
    let change = Change::in_text(&text, &request.old_text, &request.new_text);
    let replacements = change.occurrences(request, &path)?;
    let mut size = 0;
    change.apply(request.replace_all, |piece| size += piece.len());
    write::check_size(size as u64)?;
    let mut edited = String::with_capacity(size);
    change.apply(request.replace_all, |piece| edited.push_str(piece));
    write::replace(spot, edited.as_bytes(), None)?;
    let path = tree.shown(&path);
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
        .map_err(|_| fail::conflict(format!("{} is not UTF-8 text: use a command to change it", path.display())))
}

/// A replacement in a text.
struct Change<'a> {
    text: &'a str,
    /// The text in which `old` is searched: with line feeds for all line ends, unless `old` has carriage returns.
    lines: Cow<'a, str>,
    old: &'a str,
    new: &'a str,
}

impl<'a> Change<'a> {
    fn in_text(text: &'a str, old: &'a str, new: &'a str) -> Self {
        let exact = old.contains('\r') || !text.contains(CRLF);
        let lines = if exact { Cow::Borrowed(text) } else { text.replace(CRLF, "\n").into() };
        Self { text, lines, old, new }
    }

    /// Passes the edited text to `take`, piece by piece.
    fn apply(&self, all: bool, mut take: impl FnMut(&str)) {
        let by_lines = matches!(self.lines, Cow::Owned(_));
        let mut cursor = Cursor { text: self.text, by_lines, in_lines: 0, in_text: 0 };
        let mut ends = LineEnds { text: self.text, next: None };
        let mut last = 0;
        for (place, _) in self.lines.match_indices(self.old).take(if all { usize::MAX } else { 1 }) {
            let (start, end) = (cursor.advance(place), cursor.advance(place + self.old.len()));
            take(self.text.get(last..start).unwrap_or_default());
            if by_lines && !self.new.contains('\r') {
                let mut own = line_ends(self.text.get(start..end).unwrap_or_default());
                let mut line_end = None;
                for line in self.new.split_inclusive('\n') {
                    take(line.trim_end_matches('\n'));
                    if line.ends_with('\n') {
                        line_end = own.next().or(line_end);
                        take(line_end.unwrap_or_else(|| ends.after(end)));
                    }
                }
            } else {
                take(self.new);
            }
            last = end;
        }
        take(self.text.get(last..).unwrap_or_default());
    }

    /// The number of replacements; otherwise a failure that says how to change the request.
    fn occurrences(&self, request: &EditFile, path: &Path) -> Result<u64, Failure> {
        let path = path.display();
        if self.old.is_empty() {
            return Err(fail::invalid("old_text is empty: pass the text to replace; write_file writes a whole file"));
        }
        if self.old == self.new {
            return Err(fail::invalid("old_text and new_text are the same: nothing would change"));
        }
        let occurrences = occurrences(&self.lines, self.old);
        let Some((first, rest)) = occurrences.split_first() else {
            let hint = hint::nearest(self.text, self.old);
            return Err(fail::conflict(format!("old_text does not occur in {path}: {hint}")));
        };
        if request.replace_all {
            return Ok(self.lines.matches(self.old).count() as u64);
        }
        if rest.is_empty() {
            return Ok(1);
        }
        let mut lines = String::new();
        for place in std::iter::once(first).chain(rest).take(NAMED) {
            let separator = if lines.is_empty() { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(lines, "{separator}{}", hint::line_at(&self.lines, *place));
        }
        let count =
            if occurrences.len() == COUNTED { format!("at least {COUNTED}") } else { occurrences.len().to_string() };
        let more = if occurrences.len() > NAMED { ", …" } else { "" };
        Err(fail::conflict(format!(
            "old_text occurs {count} times in {path}, at the lines {lines}{more}: add surrounding lines until it is \
             unique, or set replace_all"
        )))
    }
}

/// Converts offsets in the text with normalized line ends to offsets in the file.
struct Cursor<'a> {
    text: &'a str,
    by_lines: bool,
    in_lines: usize,
    in_text: usize,
}

impl Cursor<'_> {
    /// The offset in the file. Calls must be in ascending order.
    fn advance(&mut self, place: usize) -> usize {
        if !self.by_lines {
            return place;
        }
        let mut rest = self.text.as_bytes().get(self.in_text..).unwrap_or_default();
        while self.in_lines < place && !rest.is_empty() {
            let step = if rest.starts_with(CRLF.as_bytes()) { CRLF.len() } else { 1 };
            rest = rest.get(step..).unwrap_or_default();
            self.in_text += step;
            self.in_lines += 1;
        }
        self.in_text
    }
}

/// The line ends of a text.
fn line_ends(text: &str) -> impl Iterator<Item = &'static str> {
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(line_end)
}

fn line_end(line: &str) -> &'static str {
    if line.ends_with(CRLF) { CRLF } else { "\n" }
}

/// Finds the line end after an offset. The result is cached, so that a text without line ends is searched only once.
struct LineEnds<'a> {
    text: &'a str,
    next: Option<(usize, &'static str)>,
}

impl LineEnds<'_> {
    /// The line end of the line at an offset; for the last line without one, the line end before it.
    fn after(&mut self, place: usize) -> &'static str {
        if let Some((_, end)) = self.next.filter(|(at, _)| *at > place) {
            return end;
        }
        let found = self.text.get(place..).and_then(|rest| rest.find('\n')).map(|at| place + at + 1);
        let before = || self.text.rfind('\n').map_or(0, |at| at + 1);
        let end = line_end(self.text.get(..found.unwrap_or_else(before)).unwrap_or_default());
        self.next = Some((found.unwrap_or(usize::MAX), end));
        end
    }
}

/// The offsets of `old`, at most [`COUNTED`]. Overlapping matches are included, because either may be meant.
fn occurrences(text: &str, old: &str) -> Vec<usize> {
    let step = old.chars().next().map_or(1, char::len_utf8);
    let mut occurrences = Vec::new();
    let mut from = 0;
    while let Some(found) = text.get(from..).and_then(|rest| rest.find(old)).filter(|_| occurrences.len() < COUNTED) {
        occurrences.push(from + found);
        from += found + step;
    }
    occurrences
}

/// A unified diff, shortened if it is long.
fn diff(path: &str, before: &str, after: &str) -> String {
    let name = path.trim_start_matches('/');
    let mut text = format!("--- a/{name}\n+++ b/{name}\n");
    if [before, after].iter().any(|side| side.split_inclusive('\n').nth(DIFFED_LINES).is_some()) {
        text.push_str("[… the file has too many lines for a diff …]\n");
        return text;
    }
    // Only a line feed ends a line, as in `patch`.
    let (before, after): (Vec<_>, Vec<_>) =
        (before.split_inclusive('\n').collect(), after.split_inclusive('\n').collect());
    let (mut shown, mut left_out) = (0, 0);
    for hunk in hunks(&before, &after) {
        if shown < DIFF_LINES {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", UnifiedHunkHeader::new(&hunk));
        }
        for (mark, line) in hunk.iter().flat_map(|change| marked(change, &before, &after)) {
            if shown >= DIFF_LINES {
                left_out += 1;
                continue;
            }
            shown += 1;
            text.push(mark);
            push_line(&mut text, line);
        }
    }
    if left_out > 0 {
        let _ = writeln!(text, "[… {left_out} more lines of the diff omitted …]");
    }
    text
}

/// The changes with their context lines. Lines are compared as integers: this needs the diff code of only one type,
/// while the text interface of `similar` has it for six.
fn hunks(before: &[&str], after: &[&str]) -> Vec<Vec<DiffOp>> {
    let numbers = IdentifyDistinct::<u32>::new(before, 0..before.len(), after, 0..after.len());
    let (old, new) = (numbers.old_lookup(), numbers.new_lookup());
    let mut changes = Compact::new(Replace::new(Capture::new()), old, new);
    let deadline = Some((Instant::now() + DIFF_TIME_LIMIT).into_std());
    let Ok(()) = myers::diff_deadline(&mut changes, old, numbers.old_range(), new, numbers.new_range(), deadline);
    changes.into_inner().into_inner().into_grouped_ops(CONTEXT)
}

/// The lines of a change in the order of a unified diff: removed lines, then added lines.
fn marked<'a>(
    change: &DiffOp,
    before: &'a [&str],
    after: &'a [&str],
) -> impl Iterator<Item = (char, &'a str)> + use<'a> {
    let is_equal = change.tag() == DiffTag::Equal;
    let old = before.get(change.old_range()).unwrap_or_default().iter();
    let new = after.get(change.new_range()).unwrap_or_default().iter();
    let old = old.map(move |line| (if is_equal { ' ' } else { '-' }, *line));
    old.chain(new.filter(move |_| !is_equal).map(|line| ('+', *line)))
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
