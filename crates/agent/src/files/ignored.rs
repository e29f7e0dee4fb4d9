//! The rules of ignore files (gitignore(5)). As in ripgrep, `.ignore` takes precedence over `.gitignore`, and that over
//! `.git/info/exclude`; a lower folder takes precedence over the folders above it. The files are read here instead of
//! by the crate `ignore`, which would follow links, block on pipes and read files of any size.

use crate::files::{
    folder::{Folder, kind},
    guard::{Guard, Zone},
    patterns::glob_problem,
};
use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};
use rustix::fs::FileType;
use std::{
    ffi::OsStr,
    io::{ErrorKind, Read as _},
    path::Path,
};

/// The largest ignore file that is used, in bytes.
const LARGEST: usize = 64 * 1024;
/// The limit on the total size of the ignore files on one path from the first folder down, in bytes.
const MOST: usize = 128 * 1024;

/// The rules of the folders from the first one down to the current one.
#[derive(Default)]
pub(super) struct Rules {
    levels: Vec<Level>,
    /// The number of ignore files, or lines in them, that were not used.
    pub unused: u32,
}

/// The rules of one folder.
struct Level {
    ignore: Option<Gitignore>,
    git: Option<Gitignore>,
    exclude: Option<Gitignore>,
    /// Whether the folder is the root of a repository.
    is_repository: bool,
    bytes: usize,
}

impl Rules {
    /// Reads the rules of the next folder down.
    pub(super) fn push(&mut self, folder: &Folder, path: &Path, guard: &Guard, zone: Zone) {
        let used: usize = self.levels.iter().map(|level| level.bytes).sum();
        let mut files = Files { root: path, guard, left: MOST.saturating_sub(used), unused: 0 };
        let room = files.left;
        let ignore = files.rules(folder, ".ignore", zone);
        let git = files.rules(folder, ".gitignore", zone);
        let is_repository = folder.stat(".git").is_ok();
        let exclude = if is_repository { files.exclude(folder, zone) } else { None };
        self.unused += files.unused;
        self.levels.push(Level { ignore, git, exclude, is_repository, bytes: room - files.left });
    }

    /// Removes the rules of the current folder.
    pub(super) fn pop(&mut self) {
        self.levels.pop();
    }

    /// Whether the path, which is in the current folder, is ignored.
    pub(super) fn leave_out(&self, path: &Path, is_folder: bool) -> bool {
        let decide = |rules: &Option<Gitignore>| match rules.as_ref()?.matched(path, is_folder) {
            Match::None => None,
            Match::Ignore(_) => Some(true),
            Match::Whitelist(_) => Some(false),
        };
        let (mut ignore, mut git, mut exclude) = (None, None, None);
        let mut other_repository = false;
        for level in self.levels.iter().rev() {
            ignore = ignore.or_else(|| decide(&level.ignore));
            if !other_repository {
                git = git.or_else(|| decide(&level.git));
                exclude = exclude.or_else(|| decide(&level.exclude));
            }
            other_repository |= level.is_repository;
        }
        ignore.or(git).or(exclude).unwrap_or(false)
    }
}

struct Files<'a> {
    /// The folder that the rules apply to.
    root: &'a Path,
    guard: &'a Guard,
    left: usize,
    unused: u32,
}

impl Files<'_> {
    fn exclude(&mut self, folder: &Folder, zone: Zone) -> Option<Gitignore> {
        if kind(&folder.stat(".git").ok()?) != FileType::Directory {
            return None;
        }
        let git = folder.child(".git").ok()?;
        let zone = self.guard.zone(&git, git.id, folder.id, zone).ok()?;
        let info = git.child("info").ok()?;
        let zone = self.guard.zone(&info, info.id, git.id, zone).ok()?;
        self.rules(&info, "exclude", zone)
    }

    fn rules(&mut self, folder: &Folder, name: &str, zone: Zone) -> Option<Gitignore> {
        match folder.stat(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            // git does not use a folder of that name as an ignore file either.
            Ok(stat) if kind(&stat) == FileType::Directory => return None,
            _ => {}
        }
        let rules = self.read(folder, name, zone).and_then(|content| self.compile(&content));
        if rules.is_none() {
            self.unused += 1;
        }
        rules
    }

    /// Reads a regular file that is not too large.
    fn read(&mut self, folder: &Folder, name: &str, zone: Zone) -> Option<String> {
        let (file, metadata) = folder.read(OsStr::new(name), &self.root.join(name), self.guard, zone).ok()?;
        let most = LARGEST.min(self.left);
        if metadata.len() > most as u64 {
            return None;
        }
        let mut content = Vec::new();
        file.take(most as u64 + 1).read_to_end(&mut content).ok()?;
        if content.len() > most {
            return None;
        }
        self.left -= content.len();
        Some(String::from_utf8_lossy(&content).into_owned())
    }

    fn compile(&mut self, content: &str) -> Option<Gitignore> {
        let mut builder = GitignoreBuilder::new(self.root);
        for line in content.trim_start_matches('\u{feff}').lines() {
            // As in git, an invalid glob does not invalidate the other lines.
            let is_comment = line.starts_with('#');
            if !is_comment && (glob_problem(line).is_some() || builder.add_line(None, line).is_err()) {
                self.unused += 1;
            }
        }
        builder.build().ok()
    }
}
