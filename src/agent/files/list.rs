//! What is in a folder.

use super::{
    fail,
    limits::{Deadline, PATIENCE, within},
    tree::{Access, Tree},
};
use crate::agent::protocol::{Failure, FileEntry, FileKind, FileList, ListFiles};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
};

/// How deep one can look.
const MAX_DEPTH: u32 = 10;
/// How many entries are listed.
const MAX_ENTRIES: usize = 2000;
/// Folders that nobody who lists the one around them wants to see all of.
const CLOSED: [&str; 2] = [".git", "node_modules"];

/// `POST /files/list`. Where there is too much, what is higher up is listed first.
pub(super) fn list(tree: &Tree, request: &ListFiles) -> Result<FileList, Failure> {
    let depth = within("depth", request.depth, 1, &(1..=MAX_DEPTH))?;
    let root = tree.follow(request.path.as_deref().unwrap_or("."), Access::Look)?;
    let failed = |error| fail::io("list", &root, &error);
    if !fs::metadata(&root).map_err(failed)?.is_dir() {
        return Err(fail::conflict(format!("{} is a file, not a folder: read_file shows it", root.display())));
    }
    let deadline = Deadline::after(PATIENCE);
    let mut found: BTreeMap<PathBuf, Metadata> = BTreeMap::new();
    let mut truncated = false;
    let mut ahead = VecDeque::from([(PathBuf::new(), 1)]);
    while let Some((folder, level)) = ahead.pop_front() {
        let left = MAX_ENTRIES - found.len();
        let entries = match entries(&root.join(&folder), left, deadline) {
            Ok(entries) => entries,
            Err(error) if folder.as_os_str().is_empty() => return Err(failed(error)),
            // It may be closed to us, or gone by now: what can be seen is shown.
            Err(_) => continue,
        };
        truncated |= entries.more;
        for (name, metadata) in entries.first {
            let path = folder.join(&name);
            let open = metadata.is_dir() && !CLOSED.iter().any(|closed| name.as_os_str() == *closed);
            if open && level < depth {
                ahead.push_back((path.clone(), level + 1));
            }
            found.insert(path, metadata);
        }
    }
    let entries = found.iter().map(|(path, metadata)| entry(path, metadata)).collect();
    Ok(FileList { path: root.to_string_lossy().into_owned(), entries, truncated })
}

/// The first entries of one folder, by name.
struct Entries {
    first: BTreeMap<PathBuf, Metadata>,
    more: bool,
}

fn entries(folder: &Path, room: usize, deadline: Deadline) -> io::Result<Entries> {
    let mut entries = Entries { first: BTreeMap::new(), more: false };
    for entry in fs::read_dir(folder)? {
        if deadline.passed() {
            entries.more = true;
            break;
        }
        let entry = entry?;
        let name = PathBuf::from(entry.file_name());
        let full = entries.first.len() >= room;
        if full && entries.first.last_key_value().is_none_or(|(last, _)| *last < name) {
            entries.more = true;
            continue;
        }
        // What is gone by now is not listed.
        let Ok(metadata) = entry.metadata() else { continue };
        if full {
            entries.first.pop_last();
            entries.more = true;
        }
        entries.first.insert(name, metadata);
    }
    Ok(entries)
}

fn entry(path: &Path, metadata: &Metadata) -> FileEntry {
    let kind = match metadata.file_type() {
        kind if kind.is_file() => FileKind::File,
        kind if kind.is_dir() => FileKind::Folder,
        kind if kind.is_symlink() => FileKind::Link,
        _ => FileKind::Other,
    };
    FileEntry {
        path: path.to_string_lossy().into_owned(),
        kind,
        size: metadata.is_file().then_some(metadata.len()),
        modified_at: metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok()),
    }
}
