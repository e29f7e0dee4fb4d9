//! Suggests the nearest match for text that is not in a file.

use crate::files::limits::Deadline;
use std::time::Duration;

/// The time limit of the search: repetitive text has very many similar positions.
const TIME_LIMIT: Duration = Duration::from_secs(1);
/// The number of lines that are searched: each line takes memory, however short it is.
const MOST_LINES: usize = 500_000;
/// The part of a line that is quoted, in bytes.
const QUOTED: usize = 120;

/// The number of the line with the byte at `position`, from 1.
pub(super) fn line_at(text: &str, position: usize) -> usize {
    text.bytes().take(position).filter(|byte| *byte == b'\n').count() + 1
}

/// Describes the nearest match of `wanted`, which `text` does not contain, and what to do.
pub(super) fn nearest(text: &str, wanted: &str) -> String {
    let lines: Vec<&str> = text.lines().take(MOST_LINES).collect();
    let wanted: Vec<&str> = wanted.lines().skip_while(|line| line.trim().is_empty()).take(MOST_LINES).collect();
    let length = wanted.iter().rposition(|line| !line.trim().is_empty()).map_or(0, |last| last + 1);
    let wanted = wanted.get(..length).unwrap_or_default();
    if wanted.is_empty() {
        return "it consists of white space only, which must match exactly".to_owned();
    }
    let deadline = Deadline::after(TIME_LIMIT);
    let like_white = longest(&lines, wanted, same_but_white, &deadline);
    if let Some((line, _)) = like_white.filter(|(_, agree)| *agree == wanted.len()) {
        return format!(
            "it differs in white space only from the text at line {}. Copy that text exactly, with its indentation: {}",
            line + 1,
            quote(lines.get(line).copied().unwrap_or_default())
        );
    }
    if let Some((line, _)) =
        longest(&lines, wanted, same_but_case, &deadline).filter(|(_, agree)| *agree == wanted.len())
    {
        return format!("it differs in upper and lower case only from the text at line {}", line + 1);
    }
    if let Some((line, agree)) = like_white
        && let Some(expected) = wanted.get(agree)
    {
        let there = lines.get(line + agree).map_or_else(|| "nothing more".to_owned(), |line| quote(line));
        return format!(
            "it begins like line {}, but where it continues with {}, line {} has {there}",
            line + 1,
            quote(expected),
            line + agree + 1
        );
    }
    "no line resembles its first line. Read the file again: it may have changed".to_owned()
}

/// The start of the longest run of matching lines, and its length; `None` if no line matches. The first wanted line may
/// be the end of a line, and the last one the start of a line.
fn longest(
    lines: &[&str],
    wanted: &[&str],
    same: fn(&str, &str, Position) -> bool,
    deadline: &Deadline,
) -> Option<(usize, usize)> {
    let agree = |start: usize| {
        let pairs = lines.iter().skip(start).zip(wanted).enumerate();
        let position = |index| Position { first: index == 0, last: index + 1 == wanted.len() };
        pairs.take_while(|(index, (line, wanted))| same(line, wanted, position(*index))).count()
    };
    let mut best = None;
    for start in 0..lines.len() {
        let agree = agree(start);
        if agree > best.map_or(0, |(_, agree)| agree) {
            best = Some((start, agree));
        }
        if agree == wanted.len() || deadline.passed() {
            break;
        }
    }
    best
}

/// Whether a line is the first or the last of the wanted lines.
#[derive(Clone, Copy)]
struct Position {
    first: bool,
    last: bool,
}

impl Position {
    fn fits(self, line: &str, wanted: &str) -> bool {
        match (self.first, self.last) {
            (true, true) => line.contains(wanted),
            (true, false) => line.ends_with(wanted),
            (false, true) => line.starts_with(wanted),
            (false, false) => line == wanted,
        }
    }
}

fn same_but_white(line: &str, wanted: &str, position: Position) -> bool {
    let packed = |text: &str| text.split_whitespace().collect::<String>();
    position.fits(&packed(line), &packed(wanted))
}

fn same_but_case(line: &str, wanted: &str, position: Position) -> bool {
    position.fits(&line.to_lowercase(), &wanted.to_lowercase())
}

fn quote(line: &str) -> String {
    let end = line.floor_char_boundary(QUOTED);
    let more = if end < line.len() { "…" } else { "" };
    format!("`{}{more}`", line.get(..end).unwrap_or_default())
}
