//! Writing whole files, and appending to files.

use crate::files::tests::{Home, assert_failed};
use crate::{
    files::{
        read::read,
        write::{append, write},
    },
    protocol::{Encoding, FailureKind, ReadFile, WriteFile, Written},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use nix::{sys::stat::Mode, unistd::mkfifo};
use proptest::prelude::*;
use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
};

fn text(path: &str, content: &str) -> WriteFile {
    WriteFile { path: path.to_owned(), content: content.to_owned(), ..WriteFile::default() }
}

proptest! {
    // Fewer cases than usual, because each one waits for the disk.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_was_written_is_read(bytes in any::<Vec<u8>>(), string in any::<String>()) {
        let home = Home::new();
        let encoded = WriteFile { encoding: Encoding::Base64, ..text("bytes", &STANDARD.encode(&bytes)) };
        for (request, expected) in [(encoded, bytes), (text("text", &string), string.into_bytes())] {
            let written = write(&home.tree, &request).unwrap();
            prop_assert_eq!((written.size, written.created), (expected.len() as u64, true));
            prop_assert_eq!(&fs::read(home.at(&request.path)).unwrap(), &expected);
            let part = read(&home.tree, &ReadFile { path: request.path, ..ReadFile::default() }).unwrap();
            let back = match part.encoding {
                Encoding::Utf8 => part.content.into_bytes(),
                Encoding::Base64 => STANDARD.decode(part.content).unwrap(),
            };
            prop_assert_eq!(back, expected);
        }
    }
}

#[test]
fn what_is_appended_comes_after_what_is_there() {
    let home = Home::new();
    let add = |content: &str| append(&home.tree, &WriteFile { mode: Some("600".to_owned()), ..text("a/log", content) });
    assert_eq!(add("one\n").unwrap(), Written { path: "a/log".to_owned(), size: 4, created: true });
    fs::set_permissions(home.at("a/log"), Permissions::from_mode(0o640)).unwrap();
    symlink("a/log", home.at("link")).unwrap();
    let encoded = WriteFile { encoding: Encoding::Base64, ..text("link", &STANDARD.encode("two\n")) };
    assert_eq!(append(&home.tree, &encoded).unwrap(), Written { path: "a/log".to_owned(), size: 8, created: false });
    assert_eq!(home.content("a/log"), "one\ntwo\n");
    assert_eq!(fs::metadata(home.at("a/log")).unwrap().permissions().mode() & 0o777, 0o640);
    mkfifo(&home.at("pipe"), Mode::S_IRWXU).unwrap();
    for (path, kind) in [
        ("pipe", FailureKind::Conflict),
        ("a", FailureKind::Conflict),
        ("a/log/", FailureKind::Invalid),
        ("/proc/self/comm", FailureKind::Denied),
    ] {
        assert_eq!(append(&home.tree, &text(path, "x")).unwrap_err().kind, kind, "{path}");
    }
    let large = append(&home.tree, &text("a/log", &"a".repeat(16 * 1024 * 1024 + 1))).unwrap_err();
    assert_eq!(large.kind, FailureKind::TooLarge);
}

#[test]
fn a_file_keeps_its_mode_and_its_links() {
    let home = Home::new();
    let mode = |path: &str| fs::metadata(home.at(path)).unwrap().permissions().mode() & 0o7777;
    home.file("script", "old");
    fs::set_permissions(home.at("script"), Permissions::from_mode(0o750)).unwrap();
    symlink("script", home.at("link")).unwrap();
    symlink("deep/new", home.at("dangling")).unwrap();

    let written = write(&home.tree, &text("link", "new")).unwrap();
    let expected = Written { path: "script".to_owned(), size: 3, created: false };
    assert_eq!(written, expected);
    assert!(home.at("link").is_symlink());
    assert_eq!((home.content("script").as_str(), mode("script")), ("new", 0o750));

    assert!(write(&home.tree, &text("dangling", "x")).unwrap().created);
    assert_eq!(home.content("deep/new"), "x");
    for (octal, expected) in [("755", 0o755), ("0600", 0o600), ("0o4711", 0o4711)] {
        write(&home.tree, &WriteFile { mode: Some(octal.to_owned()), ..text("script", "") }).unwrap();
        assert_eq!(mode("script"), expected, "{octal}");
    }
    write(&home.tree, &text("a/b/c", "")).unwrap();
    assert_eq!(mode("a/b/c") & !0o644, 0);
    assert_eq!(home.names(), ["a", "dangling", "deep", "link", "script"]);
}

#[test]
fn what_cannot_be_written_is_refused_by_name() {
    let home = Home::new();
    home.file("file", "old");
    mkfifo(&home.at("pipe"), Mode::S_IRWXU).unwrap();
    let mode = |mode: &str| WriteFile { mode: Some(mode.to_owned()), ..text("x", "") };
    let wrong_mode = |mode: &str| format!("mode {mode:?} is not octal permissions; for example 644 or 755");
    let rows = [
        (text("x/", ""), FailureKind::Invalid, "x/ denotes a folder: add the name of the file".to_owned()),
        (
            text(".", ""),
            FailureKind::Conflict,
            "/home is a folder, not a file: use list_files".to_owned(),
        ),
        (text("/.", ""), FailureKind::Invalid, "/. denotes a folder: add the name of the file".to_owned()),
        (
            text("pipe", ""),
            FailureKind::Conflict,
            "/home/pipe is a named pipe, not a file: use it by a command".to_owned(),
        ),
        (
            text("file/x", ""),
            FailureKind::Conflict,
            "cannot write /home/file/x: a part of the path is a file where a folder is needed".to_owned(),
        ),
        (
            WriteFile { encoding: Encoding::Base64, ..text("x", "a-b_") },
            FailureKind::Invalid,
            "content is not in base64 (RFC 4648 §4): Invalid symbol 45, offset 1.".to_owned(),
        ),
        (mode("rwx"), FailureKind::Invalid, wrong_mode("rwx")),
        (mode("648"), FailureKind::Invalid, wrong_mode("648")),
        (mode("+64"), FailureKind::Invalid, wrong_mode("+64")),
        (mode("17777"), FailureKind::Invalid, wrong_mode("17777")),
        (mode(""), FailureKind::Invalid, wrong_mode("")),
        (
            text("x", &"a".repeat(16 * 1024 * 1024 + 1)),
            FailureKind::TooLarge,
            "the file would have 16777217 bytes, and at most 16777216 can be written at once: write the first part, then append the others with append, or create the file by a command".to_owned(),
        ),
    ];
    for (request, kind, message) in rows {
        assert_failed(&home, write(&home.tree, &request), kind, &message);
    }
    assert_eq!(home.content("file"), "old");
    assert_eq!(home.names(), ["file", "pipe"]);
}
