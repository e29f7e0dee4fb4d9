//! Full and read-only disks, moves between disks, and files without permissions. The tests use namespaces, so that they
//! run without root permissions, and root's permissions do not apply.
#![cfg(target_os = "linux")]

use crate::files::tests::Home;
use crate::{
    files::{
        edit::edit,
        fail,
        paths::{remove, rename},
        read::read,
        write::write,
    },
    protocol::{EditFile, FailureKind, MovePath, ReadFile, RemovePath, WriteFile},
};
use nix::errno::Errno;
use std::{
    env, fs, io,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

/// The variable with the folder of the test, in the process in the namespace.
const FOLDER: &str = "PORTCULLIS_TEST_FOLDER";

/// Runs this test again in a namespace, after `script` has prepared the folder that is its `$1`.
pub(super) fn in_namespace(options: &[&str], script: &str, test: &str, check: fn(&Path)) {
    if let Some(folder) = env::var_os(FOLDER) {
        return check(&PathBuf::from(folder));
    }
    let namespace = || {
        let mut command = Command::new("unshare");
        command.arg("--user").args(options);
        command
    };
    if !namespace().arg("true").status().is_ok_and(|status| status.success()) {
        assert!(env::var_os("CI").is_none(), "this machine lets nobody make a namespace");
        eprintln!("skipped: this machine lets nobody make a namespace");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = namespace()
        .args(["sh", "-ec", &format!("{script}\nexec \"$2\" --exact \"$3\""), "sh"])
        .args([folder.path(), &env::current_exe().unwrap(), Path::new(test)])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Runs this test again with a small disk mounted at `small`, and a read-only one at `closed`.
fn on_small_disks(test: &str, check: fn(&Path)) {
    let script = "mkdir \"$1/small\" \"$1/closed\"
                  mount -t tmpfs -o size=256k tmpfs \"$1/small\"
                  mount -t tmpfs -o ro tmpfs \"$1/closed\"";
    in_namespace(&["--map-root-user", "--mount"], script, test, check);
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn check_full(disks: &Path) {
    let home = Home::new();
    let small = disks.join("small");
    let old = "old\n".repeat(25_000);
    fs::write(small.join("file"), &old).unwrap();
    let path = text(&small.join("file"));
    let writing = WriteFile { path: path.clone(), content: "new\n".repeat(50_000), ..WriteFile::default() };
    let failure = write(&home.tree, &writing).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Exhausted, "{failure}");
    assert!(failure.message.ends_with("the disk is full: remove unneeded files"), "{failure}");
    let editing = EditFile { path, old_text: "old".to_owned(), new_text: "new text".to_owned(), replace_all: true };
    assert_eq!(edit(&home.tree, &editing).unwrap_err().kind, FailureKind::Exhausted);
    home.file("large/file", "x".repeat(200_000));
    let moving = MovePath { from: "large".to_owned(), to: text(&small.join("large")), overwrite: false };
    assert_eq!(rename(&home.tree, &moving).unwrap_err().kind, FailureKind::Exhausted);
    assert_eq!(names(&small), ["file"]);
    assert_eq!(fs::read_to_string(small.join("file")).unwrap(), old);
    assert!(home.at("large/file").exists());
    let writing = WriteFile { path: text(&disks.join("closed/x")), ..WriteFile::default() };
    let failure = write(&home.tree, &writing).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Denied, "{failure}");
    assert!(failure.message.ends_with("it is on a file system that is read-only"), "{failure}");
}

#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_else() {
    on_small_disks("files::tests::disk::a_full_disk_leaves_the_old_file_and_nothing_else", check_full);
}

fn check_moved(disks: &Path) {
    let home = Home::new();
    let small = disks.join("small");
    home.file("folder/script", "#!");
    fs::set_permissions(home.at("folder/script"), fs::Permissions::from_mode(0o755)).unwrap();
    let modified = fs::metadata(home.at("folder/script")).unwrap().modified().unwrap();
    symlink("script", home.at("folder/link")).unwrap();
    home.file("file", "new");
    fs::write(small.join("file"), "old").unwrap();
    let moving = |from: &str, to: &str, overwrite| {
        rename(&home.tree, &MovePath { from: from.to_owned(), to: text(&small.join(to)), overwrite })
    };
    moving("folder", "moved", false).unwrap();
    assert_eq!(moving("file", "file", false).unwrap_err().kind, FailureKind::Conflict);
    moving("file", "file", true).unwrap();
    let script = fs::metadata(small.join("moved/script")).unwrap();
    assert_eq!((script.permissions().mode() & 0o777, script.modified().unwrap()), (0o755, modified));
    assert_eq!(fs::read_link(small.join("moved/link")).unwrap(), Path::new("script"));
    assert_eq!(fs::read_to_string(small.join("file")).unwrap(), "new");
    assert!(home.names().is_empty());
    assert_eq!(names(&small).len(), 2);
}

#[test]
fn what_is_moved_to_another_disk_arrives_whole() {
    on_small_disks("files::tests::disk::what_is_moved_to_another_disk_arrives_whole", check_moved);
}

fn check_denied(folder: &Path) {
    let home = Home::new();
    let at = |name: &str| text(&folder.join(name));
    let may_not = "the workspace's user lacks the permission; check its owner and mode";
    let failures = [
        (
            write(&home.tree, &WriteFile { path: at("open/closed"), ..WriteFile::default() }).unwrap_err(),
            format!("cannot write {}: {may_not}", at("open/closed")),
        ),
        (
            write(&home.tree, &WriteFile { path: at("closed/new"), ..WriteFile::default() }).unwrap_err(),
            format!("cannot create a file in {}: {may_not}", at("closed")),
        ),
        (
            read(&home.tree, &ReadFile { path: at("open/secret"), ..ReadFile::default() }).unwrap_err(),
            format!("cannot read {}: {may_not}", at("open/secret")),
        ),
        (
            remove(&home.tree, &RemovePath { path: at(""), recursive: true }).unwrap_err(),
            format!(
                "cannot remove all of {0}: the workspace's user cannot change a folder in it. If the user owns it, run \
                 `chmod -R u+w {0}`. Part of it may have been removed",
                at("").trim_end_matches('/')
            ),
        ),
    ];
    for (failure, message) in failures {
        assert_eq!((failure.kind, failure.message), (FailureKind::Denied, message));
    }
    assert_eq!(names(&folder.join("closed")), ["file"]);
    // Allows the cleanup.
    fs::set_permissions(folder.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn what_the_user_may_not_is_said() {
    let script = "mkdir \"$1/open\" \"$1/closed\"
                  touch \"$1/open/closed\" \"$1/open/secret\" \"$1/closed/file\"
                  chmod 400 \"$1/open/closed\"; chmod 000 \"$1/open/secret\"; chmod 500 \"$1/closed\"";
    in_namespace(&[], script, "files::tests::disk::what_the_user_may_not_is_said", check_denied);
}

#[test]
fn errors_of_the_system_are_said_in_words() {
    let rows = [
        (Errno::ENOENT, FailureKind::NotFound, "no such file or folder"),
        (Errno::EACCES, FailureKind::Denied, "the workspace's user lacks the permission; check its owner and mode"),
        (Errno::EPERM, FailureKind::Denied, "the workspace's user lacks the permission; check its owner and mode"),
        (Errno::EROFS, FailureKind::Denied, "it is on a file system that is read-only"),
        (Errno::ENOTDIR, FailureKind::Conflict, "a part of the path is a file where a folder is needed"),
        (Errno::EISDIR, FailureKind::Conflict, "it is a folder"),
        (Errno::EEXIST, FailureKind::Conflict, "a file or folder of that name exists"),
        (Errno::ENOTEMPTY, FailureKind::Conflict, "the folder is not empty"),
        (Errno::EBUSY, FailureKind::Conflict, "it is in use, or a mount point"),
        (Errno::ETXTBSY, FailureKind::Conflict, "it is in use, or a mount point"),
        (Errno::ENOSPC, FailureKind::Exhausted, "the disk is full: remove unneeded files"),
        (Errno::EDQUOT, FailureKind::Exhausted, "the disk quota is exceeded: remove unneeded files"),
        (Errno::EMFILE, FailureKind::Exhausted, "too many files are open"),
        (Errno::EFBIG, FailureKind::TooLarge, "it would be larger than the file system allows"),
        (Errno::ETIMEDOUT, FailureKind::TooLarge, "it took too long; use a command for files of this size"),
        (Errno::ENAMETOOLONG, FailureKind::Invalid, "the name is too long"),
        (Errno::ELOOP, FailureKind::Invalid, "its links form a loop"),
        (Errno::EIO, FailureKind::Internal, "Input/output error (os error 5)"),
    ];
    for (error, kind, why) in rows {
        let failure = fail::io("do", Path::new("/x"), &io::Error::from(error));
        assert_eq!((failure.kind, failure.message), (kind, format!("cannot do /x: {why}")), "{error}");
    }
}
