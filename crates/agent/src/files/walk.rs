//! Walks over all files below a folder for a search, in the order of their paths: by file descriptors, without
//! following links, and with bounded memory.

use crate::files::{
    folder::{Folder, MAX_DEPTH, kind},
    guard::{Guard, Zone},
    ignored::Rules,
    limits::Deadline,
};
use rustix::fs::FileType;
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    vec,
};

/// The limit on the names kept at once, for all folders on one path from the first folder down.
const MOST_NAMES: usize = 50_000;
/// The folder with the data of git.
const GIT: &str = ".git";

/// A walk over a folder tree.
pub(super) struct Walk<'a> {
    root: &'a Path,
    guard: &'a Guard,
    deadline: &'a Deadline,
    rules: Rules,
    levels: Vec<Level>,
    names: usize,
    /// The number of files and folders that could not be read.
    pub unread: u32,
    /// Whether the walk ended early, at its deadline.
    pub out_of_time: bool,
}

struct Level {
    folder: Folder,
    zone: Zone,
    /// The path relative to the root.
    path: PathBuf,
    entries: vec::IntoIter<(OsString, FileType)>,
}

impl<'a> Walk<'a> {
    /// Starts a walk at `folder`. `rules` are those of the folders above it.
    pub(super) fn new(
        root: &'a Path,
        folder: Folder,
        zone: Zone,
        guard: &'a Guard,
        rules: Rules,
        deadline: &'a Deadline,
    ) -> io::Result<Self> {
        let mut walk =
            Self { root, guard, deadline, rules, levels: Vec::new(), names: 0, unread: 0, out_of_time: false };
        walk.enter(folder, zone, PathBuf::new())?;
        Ok(walk)
    }

    /// The number of ignore files, and lines in them, that were not used.
    pub(super) fn unused_rules(&self) -> u32 {
        self.rules.unused
    }

    /// The next file whose relative path is `wanted`; `None` at the end, or after the deadline.
    pub(super) fn next_file(&mut self, wanted: impl Fn(&Path) -> bool) -> Option<(PathBuf, File)> {
        while let Some(level) = self.levels.last_mut() {
            if self.deadline.passed() {
                self.out_of_time = true;
                return None;
            }
            let Some((name, kind)) = level.entries.next() else {
                self.levels.pop();
                self.rules.pop();
                continue;
            };
            self.names -= 1;
            let path = level.path.join(&name);
            let full = self.root.join(&path);
            if self.rules.leave_out(&full, kind == FileType::Directory) {
                continue;
            }
            if kind == FileType::Directory {
                let zone = level.folder.child(&name).and_then(|folder| {
                    let zone = self.guard.zone(&folder, folder.id, level.folder.id, level.zone)?;
                    Ok((folder, zone))
                });
                match zone {
                    Ok((folder, zone)) if self.guard.check_read(zone, &full).is_ok() => {
                        if self.enter(folder, zone, path).is_err() {
                            self.unread += 1;
                        }
                    }
                    // Folders of the kernel and the workspace agent are skipped silently.
                    Ok(_) => {}
                    Err(_) => self.unread += 1,
                }
            } else if wanted(&path) {
                match level.folder.read(&name, &full, self.guard, level.zone) {
                    Ok((file, _)) => return Some((path, file)),
                    Err(_) => self.unread += 1,
                }
            }
        }
        None
    }

    fn enter(&mut self, folder: Folder, zone: Zone, path: PathBuf) -> io::Result<()> {
        if self.levels.len() == MAX_DEPTH {
            return Err(super::fail::too_deep());
        }
        let mut entries = Vec::new();
        for entry in folder.entries()? {
            if self.deadline.passed() {
                self.out_of_time = true;
                break;
            }
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if [".", "..", GIT].iter().any(|own| name == *own) {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => kind(&folder.stat(name)?),
                kind => kind,
            };
            if ![FileType::Directory, FileType::RegularFile].contains(&kind) {
                continue;
            }
            if self.names + entries.len() == MOST_NAMES {
                // The remaining entries are not searched.
                self.unread += 1;
                break;
            }
            entries.push((name.to_owned(), kind));
        }
        entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        self.names += entries.len();
        self.rules.push(&folder, &self.root.join(&path), self.guard, zone);
        self.levels.push(Level { folder, zone, path, entries: entries.into_iter() });
        Ok(())
    }
}
