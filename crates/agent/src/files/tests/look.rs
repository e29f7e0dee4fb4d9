//! Listing folders and searching files.

use crate::files::tests::{Home, assert_failed};
use crate::{
    files::{
        limits::Deadline,
        list::{list, list_most},
        read::read,
        search,
    },
    protocol::{FailureKind, FileKind, ListFiles, ReadFile, SearchFiles, SearchResults},
};
use nix::{sys::stat::Mode, unistd::mkfifo};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    time::Duration,
};

fn listed(home: &Home, path: Option<&str>, depth: Option<u32>) -> Vec<String> {
    let list = list(&home.tree, &ListFiles { path: path.map(str::to_owned), depth, ..ListFiles::default() }).unwrap();
    assert!(!list.truncated);
    list.entries.into_iter().map(|entry| entry.path).collect()
}

#[test]
fn a_listing_is_sorted_and_as_deep_as_wanted() {
    let home = Home::new();
    for path in ["b/c/d/e", "b.txt", ".git/config", ".env", "node_modules/x/y", "b/.git/z"] {
        home.file(path, "");
    }
    symlink("b", home.at("link")).unwrap();
    symlink(".", home.at("b/c/loop")).unwrap();
    assert_eq!(listed(&home, None, None), [".env", ".git", "b", "b.txt", "link", "node_modules"]);
    assert_eq!(
        listed(&home, Some("~"), Some(10)),
        [".env", ".git", "b", "b/.git", "b/c", "b/c/d", "b/c/d/e", "b/c/loop", "b.txt", "link", "node_modules"]
    );
    assert_eq!(listed(&home, Some("node_modules"), Some(2)), ["node_modules/x", "node_modules/x/y"]);
    assert_eq!(listed(&home, Some("link"), None), ["b/.git", "b/c"]);
}

#[test]
fn entries_say_what_they_are() {
    let home = Home::new();
    home.file("file", "four");
    symlink("nowhere", home.at("link")).unwrap();
    mkfifo(&home.at("pipe"), Mode::S_IRWXU).unwrap();
    fs::write(home.at("").join(OsStr::from_bytes(b"z\xff")), "").unwrap();
    fs::create_dir(home.at("folder")).unwrap();
    let entries = list(&home.tree, &ListFiles::default()).unwrap().entries;
    let shown: Vec<_> = entries.iter().map(|entry| (entry.path.as_str(), entry.kind, entry.size)).collect();
    assert_eq!(
        shown,
        [
            ("file", FileKind::File, Some(4)),
            ("folder", FileKind::Folder, None),
            ("link", FileKind::Link, None),
            ("pipe", FileKind::Other, None),
            ("z%FF", FileKind::File, Some(0)),
        ]
    );
    assert!(entries.iter().all(|entry| entry.modified_at.is_some()));
}

#[test]
fn a_long_listing_comes_in_pages_that_are_all_of_it() {
    let home = Home::new();
    for index in 0..1990 {
        home.file(&format!("a/{index:04}"), "");
    }
    for index in 0..20 {
        home.file(&format!("b{index:02}/x"), "");
    }
    let request = ListFiles { depth: Some(3), ..ListFiles::default() };
    for (limit, max_bytes, on_first) in
        [(None, None, 48 * 1024 / (90 + 6)), (Some(100), None, 100), (Some(2000), Some(1 << 20), 2000)]
    {
        let (mut paths, mut pages, mut offset) = (Vec::new(), Vec::new(), None);
        loop {
            let page = list(&home.tree, &ListFiles { offset, limit, max_bytes, ..request.clone() }).unwrap();
            assert_eq!((page.total, page.truncated), (Some(2031), page.next_offset.is_some()));
            assert!(serde_json::to_vec(&page).unwrap().len() <= usize::try_from(max_bytes.unwrap_or(50_000)).unwrap());
            pages.push(page.entries.len());
            paths.extend(page.entries.into_iter().map(|entry| entry.path));
            offset = page.next_offset;
            if offset.is_none() {
                break;
            }
        }
        assert!(pages[0].abs_diff(on_first) < 10, "{pages:?}");
        assert_eq!((paths.len(), paths[0].as_str(), paths[1990].as_str()), (2031, "a", "a/1989"));
        assert!(paths.is_sorted());
    }
    // A truncated list has the upper folders in full.
    let list = list_most(&home.tree, &ListFiles { limit: Some(2000), max_bytes: Some(1 << 20), ..request }, 2000);
    let list = list.unwrap();
    let paths: Vec<_> = list.entries.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!((list.truncated, list.total, list.next_offset, paths.len()), (true, None, None, 2000));
    assert_eq!(paths.iter().filter(|path| path.starts_with('b')).count(), 20);
    assert_eq!((paths[0], paths[1], paths[1979]), ("a", "a/0000", "a/1978"));
}

#[test]
fn what_cannot_be_listed_is_refused_by_name() {
    let home = Home::new();
    home.file("file", "");
    let row = |path: &str, depth| ListFiles { path: Some(path.to_owned()), depth, ..ListFiles::default() };
    let rows = [
        (row("file", None), FailureKind::Conflict, "/home/file is a file, not a folder: use read_file"),
        (row("none", None), FailureKind::NotFound, "cannot list /home/none: no such file or folder"),
        (row(".", Some(0)), FailureKind::Invalid, "depth must be between 1 and 10, not 0"),
        (row(".", Some(11)), FailureKind::Invalid, "depth must be between 1 and 10, not 11"),
    ];
    for (request, kind, message) in rows {
        assert_failed(&home, list(&home.tree, &request), kind, message);
    }
}

fn pattern(pattern: &str) -> SearchFiles {
    SearchFiles { pattern: pattern.to_owned(), ..SearchFiles::default() }
}

fn found(results: &SearchResults) -> Vec<String> {
    results.matches.iter().map(|found| format!("{}:{}:{}", found.path, found.line, found.text)).collect()
}

#[test]
fn a_search_finds_what_people_expect() {
    let home = Home::new();
    home.file("src/b.rs", "let needle = 1;\r\nother\r\nneedle\r\n");
    home.file("src/a/deep.rs", "x\nneedle");
    home.file("src/a.txt", "needle é\n");
    home.file(".env", "needle\n");
    home.file(".git/config", "needle\n");
    home.file("binary", b"needle\n\0");
    home.file("latin", b"needle \xe9\n");
    home.file(".gitignore", "ignored\n*.log\n");
    home.file("ignored/x", "needle\n");
    home.file("x.log", "needle\n");
    mkfifo(&home.at("pipe"), Mode::S_IRWXU).unwrap();
    symlink("src/b.rs", home.at("link")).unwrap();
    let at = |path: &str| SearchFiles { path: Some(path.to_owned()), ..pattern("needle") };
    let glob = |glob: &str| SearchFiles { glob: Some(glob.to_owned()), ..pattern("^needle$") };
    let rows: [(SearchFiles, &[&str]); 10] = [
        (
            pattern("needle"),
            &[
                ".env:1:needle",
                "latin:1:needle \u{fffd}",
                "src/a/deep.rs:2:needle",
                "src/a.txt:1:needle é",
                "src/b.rs:1:let needle = 1;",
                "src/b.rs:3:needle",
            ],
        ),
        (pattern("^needle$"), &[".env:1:needle", "src/a/deep.rs:2:needle", "src/b.rs:3:needle"]),
        (pattern(r"(?i)NEEDLE\s=\s\d"), &["src/b.rs:1:let needle = 1;"]),
        (glob("*.rs"), &["src/a/deep.rs:2:needle", "src/b.rs:3:needle"]),
        (glob("/*/*.rs"), &["src/b.rs:3:needle"]),
        (glob("src/**/*.{rs,md}"), &["src/a/deep.rs:2:needle", "src/b.rs:3:needle"]),
        (glob("!*.rs"), &[".env:1:needle"]),
        (at("src/a"), &["src/a/deep.rs:2:needle"]),
        (at("link"), &["src/b.rs:1:let needle = 1;", "src/b.rs:3:needle"]),
        (at("ignored"), &["ignored/x:1:needle"]),
    ];
    for (request, expected) in rows {
        let results = search::search(&home.tree, &request).unwrap();
        assert_eq!(found(&results), expected, "{request:?}");
        assert_eq!((results.truncated, results.note), (false, None), "{request:?}");
    }
}

#[test]
fn only_what_is_ignored_within_home_is_left_out() {
    let home = Home::confined();
    fs::write(home.folder.path().join(".gitignore"), "*\n").unwrap();
    fs::create_dir(home.folder.path().join(".git")).unwrap();
    home.file("plain/x", "needle");
    home.file("repository/.git/HEAD", "");
    home.file("repository/.gitignore", "x\n");
    home.file("repository/src/x", "needle");
    home.file("repository/src/y", "needle");
    let at = |path: &str| SearchFiles { path: Some(path.to_owned()), ..pattern("needle") };
    let rows: [(&str, &[&str]); 3] = [
        (".", &["plain/x:1:needle", "repository/src/y:1:needle"]),
        ("repository/src", &["repository/src/y:1:needle"]),
        ("plain", &["plain/x:1:needle"]),
    ];
    for (path, expected) in rows {
        assert_eq!(found(&search::search(&home.tree, &at(path)).unwrap()), expected, "{path}");
    }
}

#[test]
fn a_search_ends_at_its_limit_or_its_time() {
    let home = Home::new();
    home.file("a", "x\n".repeat(60));
    home.file("b", "x\n".repeat(60));
    let limited = |limit| SearchFiles { limit, ..pattern("x") };
    for (limit, count, truncated) in
        [(None, 100, true), (Some(1), 1, true), (Some(60), 60, true), (Some(119), 119, true), (Some(120), 120, false)]
    {
        let results = search::search(&home.tree, &limited(limit)).unwrap();
        assert_eq!(
            (results.matches.len(), results.truncated, results.total),
            (count, truncated, Some(120)),
            "{limit:?}"
        );
        assert_eq!(results.next_offset, truncated.then_some(count as u64), "{limit:?}");
    }
    let all = found(&search::search(&home.tree, &limited(Some(120))).unwrap());
    for request in [limited(Some(50)), SearchFiles { max_bytes: Some(1000), ..limited(None) }] {
        let (mut paged, mut offset) = (Vec::new(), None);
        loop {
            let page = search::search(&home.tree, &SearchFiles { offset, ..request.clone() }).unwrap();
            assert!(page.matches.len() <= 50, "{}", page.matches.len());
            paged.extend(found(&page));
            offset = page.next_offset;
            if offset.is_none() {
                break;
            }
        }
        assert_eq!(paged, all);
    }
    home.file("c", "x\n".repeat(20_000));
    let results = search::search(&home.tree, &limited(None)).unwrap();
    assert_eq!(
        (results.matches.len(), results.total, results.next_offset),
        (100, None, Some(100)),
        "not all are counted"
    );
    fs::remove_file(home.at("c")).unwrap();
    let results = search::search_until(&home.tree, &pattern("x"), &Deadline::after(Duration::ZERO)).unwrap();
    assert_eq!((results.matches.len(), results.truncated), (0, true));
    assert_eq!(results.note.unwrap(), "stopped after 10 seconds: search a smaller folder, or with a glob");
}

#[test]
fn long_lines_show_the_match_and_what_is_around_it() {
    let home = Home::new();
    home.file("long", format!("{}needle{}\n", "é".repeat(500), "€".repeat(500)));
    home.file("longest", format!("{}needle", "x".repeat(9 * 1024 * 1024)));
    let results = search::search(&home.tree, &pattern("needle")).unwrap();
    let [found] = results.matches.as_slice() else { panic!("{results:?}") };
    assert!(found.text.starts_with("…éé") && found.text.ends_with("€€…") && found.text.contains("éneedle€"));
    assert!(found.text.len() <= 406 && !found.text.contains('\u{fffd}'), "{}", found.text);
    assert_eq!(results.note.unwrap(), "1 files or folders could not be read, or have lines that are too long");
}

#[test]
fn what_cannot_be_searched_is_refused_by_name() {
    let home = Home::new();
    mkfifo(&home.at("pipe"), Mode::S_IRWXU).unwrap();
    let glob = |glob: &str| SearchFiles { glob: Some(glob.to_owned()), ..pattern("x") };
    let limit = |limit| SearchFiles { limit: Some(limit), ..pattern("x") };
    let at = |path: &str| SearchFiles { path: Some(path.to_owned()), ..pattern("x") };
    let invalid = [
        (pattern(""), "pattern is empty: pass a regular expression"),
        (pattern("foo("), "unclosed group"),
        (pattern("a\nb"), "regular expression for a line"),
        (pattern("foo("), "Put a backslash before characters"),
        (glob(""), "glob is empty: omit it to search all files"),
        (glob("!"), "glob is empty: omit it to search all files"),
        (glob("{a"), "glob \"{a\" is invalid: unclosed alternate group"),
        (limit(0), "limit must be between 1 and 1000, not 0"),
        (limit(1001), "limit must be between 1 and 1000, not 1001"),
    ];
    for (request, message) in invalid {
        let failure = search::search(&home.tree, &request).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Invalid, "{request:?}");
        assert!(failure.message.contains(message), "{request:?}: {failure}");
    }
    let message = "cannot search /home/none: no such file or folder";
    assert_failed(&home, search::search(&home.tree, &at("none")), FailureKind::NotFound, message);
    let message = "/home/pipe is a named pipe, not a file: use it by a command";
    assert_failed(&home, search::search(&home.tree, &at("pipe")), FailureKind::Conflict, message);
}

#[test]
fn every_path_of_an_answer_leads_back() {
    let home = Home::new();
    home.file("big/d0/s0/f7.py", "needle");
    home.file("100%", "needle");
    fs::write(home.at("big/d0").join(OsStr::from_bytes(b"caf\xe9 50%.txt")), "needle").unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("f"), "needle").unwrap();
    let out = outside.path().canonicalize().unwrap().to_string_lossy().into_owned();
    for (folder, expected) in [
        ("big/d0", vec!["big/d0/caf%E9 50%25.txt", "big/d0/s0/f7.py"]),
        (".", vec!["100%", "big/d0/caf%E9 50%25.txt", "big/d0/s0/f7.py"]),
        (&out, vec![&format!("{out}/f")]),
    ] {
        let path = || Some(folder.to_owned());
        let found = search::search(&home.tree, &SearchFiles { path: path(), ..pattern("needle") }).unwrap();
        let found: Vec<_> = found.matches.into_iter().map(|found| found.path).collect();
        assert_eq!(found, expected);
        let listed = list(&home.tree, &ListFiles { path: path(), depth: Some(9), ..ListFiles::default() }).unwrap();
        let files = listed.entries.into_iter().filter(|entry| entry.kind == FileKind::File);
        assert_eq!(files.map(|entry| entry.path).collect::<Vec<_>>(), expected);
        for path in found {
            let read = read(&home.tree, &ReadFile { path: path.clone(), ..ReadFile::default() }).unwrap();
            assert_eq!((read.content.as_str(), read.path), ("needle", path));
        }
    }
}
