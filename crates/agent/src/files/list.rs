//! Lists folders.

use crate::files::{
    fail,
    folder::{Folder, kind},
    limits::{Deadline, PATIENCE, within},
    names,
    tree::{Access, Spot, Tree},
};
use crate::protocol::{Failure, FileEntry, FileKind, FileList, ListFiles, USUAL_PAGE};
use jiff::Timestamp;
use rustix::fs::{FileType, Stat};
use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// The maximum depth.
const MAX_DEPTH: u32 = 10;
/// The maximum number of entries on all pages.
const MOST_FOUND: usize = 50_000;
/// The default limit of entries on a page, and the maximum.
const USUAL: u32 = 1000;
const MOST: u32 = 2000;
/// The size of an entry in JSON without its path, in bytes.
const ENTRY: u64 = 90;
/// The maximum size of a page, in bytes.
const MOST_BYTES: u64 = 1 << 20;
/// Folders whose content is listed only on request.
const CLOSED: [&str; 2] = [".git", "node_modules"];

/// `POST /files/list`. If there are too many entries, upper folders come first.
pub(super) fn list(tree: &Tree, request: &ListFiles) -> Result<FileList, Failure> {
    list_most(tree, request, MOST_FOUND)
}

pub(super) fn list_most(tree: &Tree, request: &ListFiles, most: usize) -> Result<FileList, Failure> {
    let depth = within("depth", request.depth, 1, &(1..=MAX_DEPTH))?;
    let limit = within("limit", request.limit, USUAL, &(1..=MOST))? as usize;
    let max_bytes = within("max_bytes", request.max_bytes, USUAL_PAGE, &(1..=MOST_BYTES))?;
    let root = tree.follow(request.path.as_deref().unwrap_or("."), Access::Read)?;
    let failed = |error| fail::io("list", &root.path, &error);
    if kind(&root.stat().map_err(failed)?) != FileType::Directory {
        return Err(fail::conflict(format!("{} is a file, not a folder: use read_file", root.path.display())));
    }
    let deadline = tree.deadline(PATIENCE);
    let mut found: BTreeMap<PathBuf, Stat> = BTreeMap::new();
    let mut incomplete = false;
    let mut ahead = VecDeque::from([(PathBuf::new(), 1)]);
    while let Some((folder, level)) = ahead.pop_front() {
        let left = most - found.len();
        let entries = match open(&root, &folder).and_then(|open| entries(open.as_ref(), left, &deadline)) {
            Ok(entries) => entries,
            Err(error) if folder.as_os_str().is_empty() => return Err(failed(error)),
            // The folder may be unreadable or deleted: list the others.
            Err(_) => continue,
        };
        incomplete |= entries.more;
        for (name, stat) in entries.first {
            let path = folder.join(&name);
            let is_open =
                kind(&stat) == FileType::Directory && !CLOSED.iter().any(|closed| name.as_os_str() == *closed);
            if is_open && level < depth {
                ahead.push_back((path.clone(), level + 1));
            }
            found.insert(path, stat);
        }
    }
    let total = found.len() as u64;
    let offset = request.offset.unwrap_or(0);
    let mut bytes = 0;
    let home = tree.home()?;
    let entries: Vec<FileEntry> = found
        .iter()
        .skip(usize::try_from(offset).unwrap_or(usize::MAX))
        .take(limit)
        .map(|(path, stat)| entry(names::shown(&home, &root.path.join(path)), stat))
        .take_while(|entry| {
            let first = bytes == 0;
            bytes += entry.path.len() as u64 + ENTRY;
            first || bytes <= max_bytes
        })
        .collect();
    let end = offset + entries.len() as u64;
    Ok(FileList {
        path: names::shown(&home, &root.path),
        entries,
        truncated: incomplete || end < total,
        total: (!incomplete).then_some(total),
        next_offset: (end < total).then_some(end),
    })
}

/// Opens a folder below the root, or the root itself; `None` if the file tools must not read it.
fn open(root: &Spot, path: &Path) -> io::Result<Option<Folder>> {
    let (mut folder, mut zone) = (root.folder.child(".")?, root.zone);
    for name in path {
        let next = folder.child(name)?;
        zone = root.guard.zone(&next, next.id, folder.id, zone)?;
        if root.guard.check_read(zone, path).is_err() {
            return Ok(None);
        }
        folder = next;
    }
    Ok(Some(folder))
}

/// The first entries of one folder, by name.
struct Entries {
    first: BTreeMap<PathBuf, Stat>,
    more: bool,
}

fn entries(folder: Option<&Folder>, room: usize, deadline: &Deadline) -> io::Result<Entries> {
    let mut entries = Entries { first: BTreeMap::new(), more: false };
    let Some(folder) = folder else { return Ok(entries) };
    for entry in folder.entries()? {
        if deadline.passed() {
            entries.more = true;
            break;
        }
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if [&b"."[..], b".."].contains(&name) {
            continue;
        }
        let name = PathBuf::from(OsStr::from_bytes(name));
        let full = entries.first.len() >= room;
        if full && entries.first.last_key_value().is_none_or(|(last, _)| *last < name) {
            entries.more = true;
            continue;
        }
        // An entry that was deleted in the meantime is not listed.
        let Ok(stat) = folder.stat(&name) else { continue };
        if full {
            entries.first.pop_last();
            entries.more = true;
        }
        entries.first.insert(name, stat);
    }
    Ok(entries)
}

fn entry(path: String, stat: &Stat) -> FileEntry {
    let kind = match kind(stat) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Folder,
        FileType::Symlink => FileKind::Link,
        _ => FileKind::Other,
    };
    FileEntry {
        path,
        kind,
        size: (kind == FileKind::File).then(|| u64::try_from(stat.st_size).unwrap_or_default()),
        modified_at: Timestamp::from_second(stat.st_mtime).ok(),
    }
}
