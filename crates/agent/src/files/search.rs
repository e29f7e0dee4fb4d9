//! Searches files for matching lines with the crates of ripgrep, whose rules for ignored files users expect.
//!
//! Differences from ripgrep: hidden files are searched, because AI agents look for settings too; `.gitignore` files
//! also apply outside of a repository, but then only those in or below the searched folder; rules from above the home
//! folder of a confined tree never apply.

use crate::files::{
    fail,
    folder::{Folder, MAX_DEPTH, kind, must_be_file},
    guard::Zone,
    ignored::Rules,
    limits::{Deadline, PATIENCE, Timed, within},
    names,
    patterns::{Glob, LineRegex, regex},
    tree::{Access, Spot, Tree},
    walk::Walk,
};
use crate::protocol::{Failure, SearchFiles, SearchMatch, SearchResults, USUAL_PAGE};
use grep_matcher::{LineTerminator, Matcher as _};
use grep_regex::RegexMatcher;
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkMatch};
use rustix::fs::FileType;
use std::{
    fs::File,
    io::{self, ErrorKind},
    ops::ControlFlow,
    path::Path,
    time::Duration,
};

/// The default limit of matches, and the maximum.
const USUAL: u32 = 100;
const MOST: u32 = 1000;
/// The maximum size of a page, in bytes.
const MOST_BYTES: u64 = 1 << 20;
/// The size of a match in JSON without its path and text, in bytes.
const MATCH: u64 = 40;
/// The number of matches that are counted, and the time for counting once the page is full.
const COUNTED: u64 = 10_000;
const COUNT_FOR: Duration = Duration::from_secs(1);
/// The part of a line that is shown, in bytes.
const SHOWN: usize = 400;
/// The part of it before the match, in bytes.
const BEFORE: usize = 100;

/// `POST /files/search`.
pub(super) fn search(tree: &Tree, request: &SearchFiles) -> Result<SearchResults, Failure> {
    search_until(tree, request, &tree.deadline(PATIENCE))
}

pub(super) fn search_until(tree: &Tree, request: &SearchFiles, deadline: &Deadline) -> Result<SearchResults, Failure> {
    let limit = within("limit", request.limit, USUAL, &(1..=MOST))? as usize;
    let LineRegex { matcher, longest_line } = regex(&request.pattern)?;
    let max_bytes = within("max_bytes", request.max_bytes, USUAL_PAGE, &(1..=MOST_BYTES))?;
    let glob = request.glob.as_deref().map(Glob::new).transpose()?;
    let wanted = |path: &Path| glob.as_ref().is_none_or(|glob| glob.fits(path));
    let root = tree.follow(request.path.as_deref().unwrap_or("."), Access::Read)?;
    let failed = |error| fail::io("search", &root.path, &error);
    let is_folder = kind(&root.stat().map_err(failed)?) == FileType::Directory;
    let mut search = Search {
        matcher,
        searcher: searcher(longest_line),
        page: Page { skip: request.offset.unwrap_or(0), limit, bytes: max_bytes, full: false },
        seen: 0,
        counting: None,
        deadline,
        results: SearchResults::default(),
    };
    if !is_folder {
        must_be_file(&root.path, kind(&root.stat().map_err(failed)?))?;
        let name = Path::new(root.path.file_name().unwrap_or_default());
        if !wanted(name) {
            return Ok(search.end(&ControlFlow::Continue(Read::All), 0, 0));
        }
        let found = search.file(&tree.shown(&root.path), root.open()?.0);
        return Ok(search.end(&found, 0, 0));
    }
    let home = tree.home()?;
    let rules = rules_above(tree, &root)?;
    let folder = root.folder.child(".").map_err(failed)?;
    let mut walk = Walk::new(&root.path, folder, root.zone, &root.guard, rules, deadline).map_err(failed)?;
    let mut unread = 0;
    let mut ended = ControlFlow::Continue(());
    while let Some((path, file)) = walk.next_file(wanted) {
        match search.file(&names::shown(&home, &root.path.join(&path)), file) {
            ControlFlow::Continue(Read::All) => {}
            ControlFlow::Continue(Read::Not) => unread += 1,
            ControlFlow::Break(end) => {
                ended = ControlFlow::Break(end);
                break;
            }
        }
    }
    let ended = match ended {
        ControlFlow::Break(end) => ControlFlow::Break(end),
        ControlFlow::Continue(()) if walk.out_of_time => ControlFlow::Break(End::OutOfTime),
        ControlFlow::Continue(()) => ControlFlow::Continue(Read::All),
    };
    Ok(search.end(&ended, unread + walk.unread, walk.unused_rules()))
}

/// Whether a file could be searched.
enum Read {
    All,
    Not,
}

/// Why a search ends early.
enum End {
    Enough,
    OutOfTime,
}

/// The page of matches that is returned.
#[derive(Clone)]
struct Page {
    /// The number of matches before the page.
    skip: u64,
    /// The number of matches that still fit.
    limit: usize,
    /// The number of bytes that still fit.
    bytes: u64,
    /// Whether a match did not fit.
    full: bool,
}

impl Page {
    /// Whether the next match belongs to the page.
    fn takes(&mut self, path: &str, text: &str) -> bool {
        self.full = self.limit == 0 || self.bytes == 0;
        if !self.full {
            self.limit -= 1;
            self.bytes = self.bytes.saturating_sub(path.len() as u64 + text.len() as u64 + MATCH);
        }
        !self.full
    }
}

/// A search, and its results so far.
struct Search<'a> {
    matcher: RegexMatcher,
    searcher: Searcher,
    page: Page,
    /// The number of matches so far.
    seen: u64,
    /// The deadline for counting matches beyond the page.
    counting: Option<Deadline>,
    deadline: &'a Deadline,
    results: SearchResults,
}

impl Search<'_> {
    /// Searches one file. `path` is the path to show.
    fn file(&mut self, path: &str, file: File) -> ControlFlow<End, Read> {
        let mut lines = Lines {
            matcher: &self.matcher,
            path,
            page: self.page.clone(),
            found: Vec::new(),
            seen: self.seen,
            most: COUNTED.max(self.page.skip.saturating_add(u64::from(MOST))),
            enough: false,
            binary: false,
        };
        let timed = Timed { inner: file, deadline: self.deadline.clone() };
        let outcome = self.searcher.search_reader(&self.matcher, timed, &mut lines);
        if !lines.binary {
            self.results.matches.append(&mut lines.found);
            (self.page, self.seen) = (lines.page, lines.seen);
        }
        if self.page.full && self.counting.is_none() {
            self.counting = Some(Deadline::after(COUNT_FOR));
        }
        match outcome {
            Ok(()) if lines.enough || self.counting.as_ref().is_some_and(Deadline::passed) => {
                ControlFlow::Break(End::Enough)
            }
            Ok(()) => ControlFlow::Continue(Read::All),
            Err(error) if error.kind() == ErrorKind::TimedOut => ControlFlow::Break(End::OutOfTime),
            Err(_) => ControlFlow::Continue(Read::Not),
        }
    }

    /// The answer, with a note about skipped files and ignore rules.
    fn end(self, ended: &ControlFlow<End, Read>, mut unread: u32, unused_rules: u32) -> SearchResults {
        let mut notes = Vec::new();
        let mut results = self.results;
        let end = self.page.skip + results.matches.len() as u64;
        results.next_offset = self.page.full.then_some(end);
        results.truncated = self.page.full;
        match ended {
            ControlFlow::Break(End::Enough) => return results,
            ControlFlow::Break(End::OutOfTime) => {
                results.truncated = true;
                let seconds = PATIENCE.as_secs();
                notes.push(format!("stopped after {seconds} seconds: search a smaller folder, or with a glob"));
                unread = 0;
            }
            ControlFlow::Continue(read) => {
                results.total = Some(self.seen);
                unread += u32::from(matches!(read, Read::Not));
            }
        }
        if unread > 0 {
            notes.push(format!("{unread} files or folders could not be read, or have lines that are too long"));
        }
        if unused_rules > 0 {
            notes.push(format!(
                "{unused_rules} ignore files, or lines in them, have no effect: they are not regular files, too large \
                 or invalid"
            ));
        }
        results.note = (!notes.is_empty()).then(|| notes.join("; "));
        results
    }
}

/// The heap limit bounds the length of a line: text that people write does not have longer lines.
fn searcher(longest_line: usize) -> Searcher {
    SearcherBuilder::new()
        .line_terminator(LineTerminator::crlf())
        .line_number(true)
        .binary_detection(BinaryDetection::quit(0))
        .heap_limit(Some(longest_line))
        .build()
}

/// In a repository, the rules of the folders above this one; otherwise none.
fn rules_above(tree: &Tree, root: &Spot) -> Result<Rules, Failure> {
    let home = tree.home()?;
    let mut rules = Rules::default();
    if root.zone != Zone::Open || root.folder.stat(".git").is_ok() {
        return Ok(rules);
    }
    let mut above: Vec<(&Path, Folder)> = Vec::new();
    let reachable = |path: &Path| !tree.confined() || path.starts_with(&home);
    for path in root.path.ancestors().skip(1).take_while(|path| reachable(path)).take(MAX_DEPTH) {
        let last = above.last().map_or(&root.folder, |(_, folder)| folder);
        let Ok(folder) = last.child("..") else { return Ok(rules) };
        let is_repository = folder.stat(".git").is_ok();
        above.push((path, folder));
        if is_repository {
            for (path, folder) in above.iter().rev() {
                rules.push(folder, path, &root.guard, Zone::Open);
            }
            break;
        }
    }
    Ok(rules)
}

/// Collects the matching lines of one file.
struct Lines<'a> {
    matcher: &'a RegexMatcher,
    path: &'a str,
    page: Page,
    found: Vec<SearchMatch>,
    /// The number of matches so far, including previous files.
    seen: u64,
    /// The number of matches at which counting stops.
    most: u64,
    enough: bool,
    binary: bool,
}

impl Sink for Lines<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, line: &SinkMatch<'_>) -> io::Result<bool> {
        self.seen += 1;
        if self.seen <= self.page.skip {
            return Ok(true);
        }
        if !self.page.full {
            let text = line.bytes().strip_suffix(b"\n").unwrap_or(line.bytes());
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            let at = self.matcher.find(text).ok().flatten().map_or(0, |found| found.start());
            let text = around(text, at);
            if self.page.takes(self.path, &text) {
                let line = line.line_number().unwrap_or_default();
                self.found.push(SearchMatch { path: self.path.to_owned(), line, text });
            }
        }
        self.enough = self.page.full && self.seen >= self.most;
        Ok(!self.enough)
    }

    fn binary_data(&mut self, _: &Searcher, _: u64) -> io::Result<bool> {
        self.binary = true;
        Ok(false)
    }
}

/// The part of a long line around the match at `at`.
fn around(line: &[u8], at: usize) -> String {
    if line.len() <= SHOWN {
        return String::from_utf8_lossy(line).into_owned();
    }
    let border = |index: usize| line.get(index).is_none_or(|byte| byte & 0b1100_0000 != 0b1000_0000);
    let mut start = at.saturating_sub(BEFORE);
    let mut end = (start + SHOWN).min(line.len());
    // At most the rest of one character; invalid UTF-8 has no character boundaries.
    for _ in 0..3 {
        start += usize::from(!border(start));
        end -= usize::from(!border(end));
    }
    let text = String::from_utf8_lossy(line.get(start..end).unwrap_or_default());
    let before = if start > 0 { "…" } else { "" };
    let after = if end < line.len() { "…" } else { "" };
    format!("{before}{text}{after}")
}
