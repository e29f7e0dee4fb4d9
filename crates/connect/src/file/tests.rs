//! Files, links and permissions.

use super::{ConfigFile, FileError, MAX_BYTES};
use jiff::Timestamp;
use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::Path,
};

fn now() -> Timestamp {
    "2026-11-30T18:12:20.9Z".parse().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_keeps_its_permissions_and_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mcp.json");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let file = ConfigFile::read(&path).unwrap();
    assert_eq!(file.text(), "old");
    let backup = file.replace("new", now()).unwrap().unwrap();
    assert_eq!(backup.file_name().unwrap(), "mcp.json.bak-20261130T181220Z");
    assert_eq!((fs::read_to_string(&path).unwrap(), mode(&path)), ("new".to_owned(), 0o640));
    assert_eq!(fs::read_to_string(&backup).unwrap(), "old");
    assert_eq!(mode(&backup) & !0o640, 0);

    let second = ConfigFile::read(&path).unwrap().replace("newer", now()).unwrap().unwrap();
    assert_eq!(second.file_name().unwrap(), "mcp.json.bak-20261130T181220Z-2");
    assert_eq!(fs::read_to_string(second).unwrap(), "new");
    assert_eq!(names(folder.path()), ["mcp.json", "mcp.json.bak-20261130T181220Z", "mcp.json.bak-20261130T181220Z-2"]);
}

#[test]
fn a_missing_file_is_created_with_its_folders() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".config/Code/User/mcp.json");
    let file = ConfigFile::read(&path).unwrap();
    assert_eq!(file.text(), "");
    assert_eq!(file.replace("new", now()).unwrap(), None);
    assert_eq!((fs::read_to_string(&path).unwrap(), mode(&path)), ("new".to_owned(), 0o600));
    assert_eq!(names(path.parent().unwrap()), ["mcp.json"]);
}

#[test]
fn links_stay_and_what_they_lead_to_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (home, dotfiles) = (folder.path().join("home"), folder.path().join("dotfiles"));
    fs::create_dir(&home).unwrap();
    fs::create_dir(&dotfiles).unwrap();
    fs::write(dotfiles.join("mcp.json"), "old").unwrap();
    let link = home.join("mcp.json");
    symlink("../dotfiles/mcp.json", &link).unwrap();
    ConfigFile::read(&link).unwrap().replace("new", now()).unwrap();
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("../dotfiles/mcp.json"));
    assert_eq!(fs::read_to_string(dotfiles.join("mcp.json")).unwrap(), "new");
    assert_eq!(names(&home), ["mcp.json"]);

    let broken = home.join("broken.json");
    symlink("missing.json", &broken).unwrap();
    assert!(matches!(ConfigFile::read(&broken), Err(FileError::BrokenLink { .. })));
}

#[test]
fn the_owner_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mcp.json");
    fs::write(&path, "old").unwrap();
    // Only root may give a file away; for another user there is nothing to test.
    if chown(&path, Some(65_534), Some(65_534)).is_ok() {
        ConfigFile::read(&path).unwrap().replace("new", now()).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (65_534, 65_534));
    }
}

#[test]
fn a_file_that_another_program_changed_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mcp.json");
    let missing = ConfigFile::read(&path).unwrap();
    fs::write(&path, "theirs").unwrap();
    assert!(matches!(missing.replace("new", now()), Err(FileError::Changed { .. })));
    let read = ConfigFile::read(&path).unwrap();
    fs::write(&path, "theirs again").unwrap();
    assert!(matches!(read.replace("new", now()), Err(FileError::Changed { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "theirs again");
    fs::remove_file(&path).unwrap();
    assert!(matches!(read.replace("new", now()), Err(FileError::Changed { .. })));
    assert!(names(folder.path()).is_empty());
}

#[test]
fn what_is_not_a_small_text_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(ConfigFile::read(folder.path()), Err(FileError::NotAFile { .. })));
    assert!(matches!(ConfigFile::read(Path::new("/dev/null")), Err(FileError::NotAFile { .. })));
    let binary = folder.path().join("binary");
    fs::write(&binary, [0xff, 0xfe, b'{', 0]).unwrap();
    assert!(matches!(ConfigFile::read(&binary), Err(FileError::NotText { .. })));
    let large = folder.path().join("large");
    File::create(&large).unwrap().set_len(MAX_BYTES + 1).unwrap();
    assert!(matches!(ConfigFile::read(&large), Err(FileError::TooLarge { .. })));
    assert!(matches!(ConfigFile::read(&binary.join("below")), Err(FileError::Read { .. })));
}
