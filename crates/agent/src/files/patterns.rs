//! Limits on the length, depth and cost of untrusted patterns: the parsers and compilers recurse and take memory in
//! proportion to the size of a pattern.

use crate::files::fail;
use crate::protocol::Failure;
use globset::{GlobBuilder, GlobMatcher};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use std::path::Path;

/// The longest regular expression or glob, in bytes.
const LONGEST: usize = 1000;
/// The maximum number of groups of alternatives in a glob, as in `{a,b}`, which also limits their nesting.
const MOST_BRACES: usize = 32;
/// The maximum nesting of a regular expression.
const NEST_LIMIT: u32 = 50;
/// The size limit of a compiled regular expression, in bytes.
const SIZE_LIMIT: usize = 2 << 20;
/// The size limit of its DFA cache, in bytes.
const TABLES_LIMIT: usize = 2 << 20;
/// The size up to which a compiled regular expression is small, and the longest line for a small one, in bytes.
const SMALL: (usize, usize) = (SIZE_LIMIT / 16, 1 << 20);
/// The longest line for all others. The time to match grows with both sizes, and the deadline is not checked within a
/// line.
const LONGEST_LINE: usize = SMALL.1 / 16;

/// A regular expression that matches within a line.
pub(super) struct LineRegex {
    pub matcher: RegexMatcher,
    /// The longest line that it is matched against, in bytes.
    pub longest_line: usize,
}

/// Compiles a regular expression that matches within a line.
pub(super) fn regex(pattern: &str) -> Result<LineRegex, Failure> {
    if pattern.is_empty() {
        return Err(fail::invalid("pattern is empty: pass a regular expression"));
    }
    if pattern.len() > LONGEST {
        return Err(fail::invalid(format!(
            "pattern has {} bytes; it may have at most {LONGEST}: search for a part of it",
            pattern.len()
        )));
    }
    let mut builder = RegexMatcherBuilder::new();
    builder.multi_line(true).crlf(true).nest_limit(NEST_LIMIT).dfa_size_limit(TABLES_LIMIT);
    if let Ok(matcher) = builder.size_limit(SMALL.0).build(pattern) {
        return Ok(LineRegex { matcher, longest_line: SMALL.1 });
    }
    let matcher = builder.size_limit(SIZE_LIMIT).build(pattern).map_err(|error| {
        let error = error.to_string();
        if error.contains("size limit") {
            return fail::invalid(format!(
                "pattern takes more than {} MiB when it is compiled: repeat less, or use classes such as [a-z] instead \
                 of \\w and \\pL",
                SIZE_LIMIT >> 20
            ));
        }
        fail::invalid(format!(
            "pattern is not a valid regular expression for a line: {error}. Put a backslash before characters such as \
             ( [ {{ . * + ? to search for them literally"
        ))
    })?;
    Ok(LineRegex { matcher, longest_line: LONGEST_LINE })
}

/// Why a glob is rejected before it is parsed.
pub(super) fn glob_problem(glob: &str) -> Option<String> {
    if glob.len() > LONGEST {
        return Some(format!("has {} bytes; it may have at most {LONGEST}", glob.len()));
    }
    // Escaped braces are included: only the parser knows the real nesting.
    let braces = glob.bytes().filter(|byte| *byte == b'{').count();
    (braces > MOST_BRACES).then(|| format!("has {braces} opening braces; it may have at most {MOST_BRACES}"))
}

/// A filter for files.
pub(super) struct Glob {
    matcher: GlobMatcher,
    others: bool,
}

impl Glob {
    /// As in ripgrep: a glob without a slash matches names in any folder, and `!` inverts the glob.
    pub(super) fn new(text: &str) -> Result<Self, Failure> {
        if let Some(problem) = glob_problem(text) {
            return Err(fail::invalid(format!("glob {problem}: write a simpler one")));
        }
        let (others, wanted) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let pattern = match wanted.strip_prefix('/') {
            Some(rest) => rest.to_owned(),
            None if wanted.contains('/') => wanted.to_owned(),
            None => format!("**/{wanted}"),
        };
        match GlobBuilder::new(&pattern).literal_separator(true).build() {
            Ok(glob) if !wanted.is_empty() => Ok(Self { matcher: glob.compile_matcher(), others }),
            Ok(_) => Err(fail::invalid("glob is empty: omit it to search all files")),
            Err(error) => Err(fail::invalid(format!("glob {text:?} is invalid: {}", error.kind()))),
        }
    }

    /// Whether a file with this path passes the filter.
    pub(super) fn fits(&self, path: &Path) -> bool {
        self.matcher.is_match(path) != self.others
    }
}
