//! Finding lines in files, with ripgrep's own crates: their rules of what to leave out are what people expect.
//!
//! Beside ripgrep's rules: hidden files are searched, as agents look for settings too; `.gitignore` files count without
//! a repository too, but only those in or below the folder that is searched; and what is above the home folder of a
//! confined tree never counts.

use super::{
    fail,
    limits::{Deadline, PATIENCE, Timed, within},
    tree::{self, Access, Tree},
};
use crate::agent::protocol::{Failure, SearchFiles, SearchMatch, SearchResults};
use globset::{GlobBuilder, GlobMatcher};
use grep_matcher::{LineTerminator, Matcher as _};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkMatch};
use ignore::{DirEntry, WalkBuilder};
use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
};

/// How many matches are shown unless it is said, and at most.
const USUAL: u32 = 100;
const MOST: u32 = 1000;
/// The longest line that is searched: longer ones are in no file that people write.
const LONGEST_LINE: usize = 8 * 1024 * 1024;
/// How much of a line is shown, in bytes.
const SHOWN: usize = 400;
/// How much of that comes before the match.
const BEFORE: usize = 100;
/// Folders of the kernel's: reading in them may wait for ever, or change something.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];

/// `POST /files/search`.
pub(super) fn search(tree: &Tree, request: &SearchFiles) -> Result<SearchResults, Failure> {
    search_until(tree, request, Deadline::after(PATIENCE))
}

pub(super) fn search_until(tree: &Tree, request: &SearchFiles, deadline: Deadline) -> Result<SearchResults, Failure> {
    let limit = within("limit", request.limit, USUAL, &(1..=MOST))? as usize;
    let matcher = matcher(&request.pattern)?;
    let glob = request.glob.as_deref().map(Glob::new).transpose()?;
    let root = tree.follow(request.path.as_deref().unwrap_or("."), Access::Look)?;
    let metadata = fs::metadata(&root).map_err(|error| fail::io("search", &root, &error))?;
    if !metadata.is_dir() {
        tree::must_be_file(&root, &metadata)?;
    }
    let mut searcher = searcher();
    let mut results = SearchResults::default();
    let mut unread = 0_u32;
    for entry in walk(tree, &root)? {
        if deadline.passed() {
            return Ok(out_of_time(results));
        }
        let Ok(entry) = entry else {
            unread += 1;
            continue;
        };
        if !entry.file_type().is_some_and(|kind| kind.is_file()) {
            continue;
        }
        let path = relative(entry.path(), &root);
        if glob.as_ref().is_some_and(|glob| !glob.fits(path)) {
            continue;
        }
        let Ok((file, _)) = tree::open(entry.path()) else {
            unread += 1;
            continue;
        };
        let shown = path.to_string_lossy();
        let left = limit - results.matches.len();
        let mut lines =
            Lines { matcher: &matcher, path: &shown, room: left, found: Vec::new(), more: false, binary: false };
        let outcome = searcher.search_reader(&matcher, Timed { inner: file, deadline }, &mut lines);
        if !lines.binary {
            results.matches.append(&mut lines.found);
            results.truncated |= lines.more;
        }
        match outcome {
            Ok(()) if results.truncated => return Ok(results),
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::TimedOut => return Ok(out_of_time(results)),
            Err(_) => unread += 1,
        }
    }
    if unread > 0 {
        let note = format!("{unread} files or folders could not be read, or have lines that are too long");
        results.note = Some(note);
    }
    Ok(results)
}

fn out_of_time(results: SearchResults) -> SearchResults {
    let note = format!("stopped after {} seconds: search a smaller folder, or with a glob", PATIENCE.as_secs());
    SearchResults { truncated: true, note: Some(note), ..results }
}

fn matcher(pattern: &str) -> Result<RegexMatcher, Failure> {
    if pattern.is_empty() {
        return Err(fail::invalid("pattern is empty: say what to search for"));
    }
    RegexMatcherBuilder::new().multi_line(true).crlf(true).build(pattern).map_err(|error| {
        fail::invalid(format!(
            "pattern is no regular expression that matches within a line: {error}. Put a backslash before characters \
             such as ( [ {{ . * + ? to search for them as they are"
        ))
    })
}

fn searcher() -> Searcher {
    SearcherBuilder::new()
        .line_terminator(LineTerminator::crlf())
        .line_number(true)
        .binary_detection(BinaryDetection::quit(0))
        .heap_limit(Some(LONGEST_LINE))
        .build()
}

/// All files to be searched, sorted by their paths.
fn walk(tree: &Tree, root: &Path) -> Result<ignore::Walk, Failure> {
    // In a repository, its `.gitignore` files above the folder count too.
    let home = tree.home()?;
    let repository = root
        .ancestors()
        .take_while(|folder| !tree.confined() || folder.starts_with(&home))
        .any(|folder| folder.join(".git").exists());
    let wanted = |entry: &DirEntry| {
        entry.depth() == 0
            || entry.file_name() != ".git" && !KERNEL.iter().any(|folder| entry.path() == Path::new(folder))
    };
    Ok(WalkBuilder::new(root)
        .hidden(false)
        .git_global(false)
        .parents(repository)
        .require_git(repository)
        .sort_by_file_path(Path::cmp)
        .filter_entry(wanted)
        .build())
}

/// The path as it is shown, and as globs see it.
fn relative<'a>(path: &'a Path, root: &Path) -> &'a Path {
    match path.strip_prefix(root) {
        Ok(relative) if !relative.as_os_str().is_empty() => relative,
        // The root is a file.
        _ => path.file_name().map_or(path, Path::new),
    }
}

/// Which files are wanted.
struct Glob {
    matcher: GlobMatcher,
    others: bool,
}

impl Glob {
    /// As for ripgrep: one without a slash is for names in any folder, and `!` stands for all others.
    fn new(text: &str) -> Result<Self, Failure> {
        let (others, wanted) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let pattern = match wanted.strip_prefix('/') {
            Some(rest) => rest.to_owned(),
            None if wanted.contains('/') => wanted.to_owned(),
            None => format!("**/{wanted}"),
        };
        match GlobBuilder::new(&pattern).literal_separator(true).build() {
            Ok(glob) if !wanted.is_empty() => Ok(Self { matcher: glob.compile_matcher(), others }),
            Ok(_) => Err(fail::invalid("glob is empty: leave it out to search all files")),
            Err(error) => Err(fail::invalid(format!("glob {text:?} cannot be read: {}", error.kind()))),
        }
    }

    fn fits(&self, path: &Path) -> bool {
        self.matcher.is_match(path) != self.others
    }
}

/// Collects the lines of one file that match.
struct Lines<'a> {
    matcher: &'a RegexMatcher,
    path: &'a str,
    room: usize,
    found: Vec<SearchMatch>,
    more: bool,
    binary: bool,
}

impl Sink for Lines<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, line: &SinkMatch<'_>) -> io::Result<bool> {
        if self.found.len() == self.room {
            self.more = true;
            return Ok(false);
        }
        let text = line.bytes().strip_suffix(b"\n").unwrap_or(line.bytes());
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let at = self.matcher.find(text).ok().flatten().map_or(0, |found| found.start());
        self.found.push(SearchMatch {
            path: self.path.to_owned(),
            line: line.line_number().unwrap_or_default(),
            text: around(text, at),
        });
        Ok(true)
    }

    fn binary_data(&mut self, _: &Searcher, _: u64) -> io::Result<bool> {
        self.binary = true;
        Ok(false)
    }
}

/// The part of a long line that the match at `at` is in.
fn around(line: &[u8], at: usize) -> String {
    if line.len() <= SHOWN {
        return String::from_utf8_lossy(line).into_owned();
    }
    let border = |index: usize| line.get(index).is_none_or(|byte| byte & 0b1100_0000 != 0b1000_0000);
    let mut start = at.saturating_sub(BEFORE);
    let mut end = (start + SHOWN).min(line.len());
    // No more than the rest of one character; what is no UTF-8 has no borders.
    for _ in 0..3 {
        start += usize::from(!border(start));
        end -= usize::from(!border(end));
    }
    let text = String::from_utf8_lossy(line.get(start..end).unwrap_or_default());
    let before = if start > 0 { "…" } else { "" };
    let after = if end < line.len() { "…" } else { "" };
    format!("{before}{text}{after}")
}
