//! Looks up this process's user in `/etc/passwd` (passwd(5)). The lookup functions of the C library would load modules
//! of the workspace's image, which may be built for another C library.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

/// The part of the file that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// The fields of a user.
#[derive(Debug, PartialEq)]
pub(crate) struct User {
    /// The login name.
    pub name: String,
    /// The home folder.
    pub home: PathBuf,
}

/// The first user with this id, if the file has one.
pub(crate) fn user(file: &Path, id: u32) -> Option<User> {
    let lines = BufReader::new(File::open(file).ok()?.take(LONGEST)).split(b'\n');
    lines.map_while(Result::ok).find_map(|line| entry(std::str::from_utf8(&line).ok()?, id))
}

fn entry(line: &str, wanted: u32) -> Option<User> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
    let id: u32 = fields.nth(1)?.parse().ok()?;
    let home = fields.nth(2)?.into();
    (id == wanted).then_some(User { name, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_id() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passwd");
        let lines = b"\n# 7\n:x:7:7::/nameless:\nshort:x:7\nword:x:seven:7::/:\n\xff:x:7:7::/bytes:\n\
            ann:x:7:100:Ann, 1:/home/ann:/bin/sh\nbob:x:7:7::/second:\nroot:x:0:0:root:/root";
        std::fs::write(&file, lines).unwrap();
        let found = |id| user(&file, id).map(|user| (user.name, user.home));
        assert_eq!(found(7), Some(("ann".to_owned(), "/home/ann".into())));
        assert_eq!(found(0), Some(("root".to_owned(), "/root".into())));
        assert_eq!(found(8), None);
        assert_eq!(user(&folder.path().join("missing"), 0), None);
    }
}
