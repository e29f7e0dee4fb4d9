//! Patterns, ignore files and folder trees that try to exhaust the memory, stack or time of the workspace agent.

use crate::files::tests::Home;
use crate::{
    files::{
        edit::edit,
        limits::{Cancel, Deadline},
        list::list,
        paths::{remove, rename},
        patterns::regex,
        read::read,
        search::{search, search_until},
        write::write,
    },
    protocol::{
        EditFile, Failure, FailureKind, ListFiles, MovePath, ReadFile, RemovePath, SearchFiles, SearchResults,
        WriteFile,
    },
};
use nix::{sys::stat::Mode, unistd::mkfifo};
use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::symlink,
    time::Duration,
};

fn needle() -> SearchFiles {
    SearchFiles { pattern: "needle".to_owned(), ..SearchFiles::default() }
}

fn paths(results: &SearchResults) -> Vec<&str> {
    results.matches.iter().map(|found| found.path.as_str()).collect()
}

#[track_caller]
fn assert_invalid<A: std::fmt::Debug>(result: Result<A, Failure>, said: &str) {
    let failure = result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Invalid, "{failure}");
    assert!(failure.message.contains(said), "{failure}");
}

#[test]
fn patterns_are_bounded_before_they_are_compiled() {
    let home = Home::new();
    home.file("a.rs", "needle");
    let glob = |glob: String| search(&home.tree, &SearchFiles { glob: Some(glob), ..needle() });
    let pattern = |pattern: String| search(&home.tree, &SearchFiles { pattern, ..SearchFiles::default() });
    assert_invalid(glob("{".repeat(20_000)), "glob has 20000 bytes; it may have at most 1000");
    assert_invalid(glob(format!("{}a{}", "{".repeat(400), "}".repeat(400))), "glob has 400 opening braces");
    // A closing brace in a class or after a backslash does not allow another opening brace.
    assert_invalid(glob("[}]{".repeat(100)), "opening braces");
    assert_invalid(glob("\\}{".repeat(100)), "opening braces");
    assert_eq!(paths(&glob("{a,b}{,.rs,.md}".to_owned()).unwrap()), ["a.rs"]);
    assert_eq!(paths(&glob(format!("{}a.rs{}", "{".repeat(32), "}".repeat(32))).unwrap()), ["a.rs"]);

    assert_invalid(pattern("a".repeat(1001)), "pattern has 1001 bytes; it may have at most 1000");
    assert_invalid(pattern(r"(\pL{50}){40}".to_owned()), "takes more than 2 MiB when it is compiled");
    assert_invalid(pattern("((((a{60}){60}){60}){60}){60}".to_owned()), "takes more than 2 MiB when it is compiled");
    assert_invalid(pattern(format!("{}a{}", "(".repeat(300), ")".repeat(300))), "not a valid regular expression");
    for usual in [r"\bfn\s+\w{1,40}\s*\(", r"(?i)\berror\b.*\d{3}", r"^\s*(pub(\(\w+\))?\s+)?(struct|enum)\s+\w+"] {
        assert!(regex(usual).is_ok(), "{usual}");
    }
}

#[test]
fn ignore_files_that_are_no_files_are_left_alone() {
    /// A name, and a function that creates a file that is not used, at the path of an ignore file.
    type Case = (&'static str, fn(&Home, &str));
    let pipe: fn(&Home, &str) = |home, path| mkfifo(&home.at(path), Mode::S_IRWXU).unwrap();
    let to_a_pipe: fn(&Home, &str) = |home, path| {
        mkfifo(&home.at("pipe"), Mode::S_IRWXU).unwrap();
        symlink(home.at("pipe"), home.at(path)).unwrap();
    };
    let to_zero: fn(&Home, &str) = |home, path| symlink("/dev/zero", home.at(path)).unwrap();
    let to_a_file: fn(&Home, &str) = |home, path| {
        home.file("rules", "x\n");
        symlink(home.at("rules"), home.at(path)).unwrap();
    };
    let huge: fn(&Home, &str) = |home, path| {
        fs::File::create(home.at(path)).unwrap().set_len(1 << 40).unwrap();
    };
    let cases: [Case; 5] = [
        ("a pipe", pipe),
        ("a link to a pipe", to_a_pipe),
        ("/dev/zero", to_zero),
        ("a link", to_a_file),
        ("huge", huge),
    ];
    for (what, make) in cases {
        for path in [".gitignore", ".ignore", ".git/info/exclude", "x/.gitignore"] {
            let home = Home::new();
            home.file("x/y", "needle");
            fs::create_dir_all(home.at(".git/info")).unwrap();
            make(&home, path);
            let results = search(&home.tree, &needle()).unwrap();
            assert_eq!(paths(&results), ["x/y"], "{what} as {path}");
            let note = results.note.unwrap();
            assert!(note.starts_with("1 ignore files, or lines in them, have no effect"), "{what} as {path}: {note}");
        }
    }
    // The entry that marks a repository may be a pipe too.
    let home = Home::new();
    home.file("x/y", "needle");
    mkfifo(&home.at(".git"), Mode::S_IRWXU).unwrap();
    assert_eq!(paths(&search(&home.tree, &needle()).unwrap()), ["x/y"]);
}

#[test]
fn rules_of_ignore_files_are_bounded_and_the_others_count() {
    let home = Home::new();
    home.file("kept", "needle");
    home.file("left-out", "needle");
    let bombs = [format!("{}\nleft-out\n", "{".repeat(20_000)), format!("{}\nleft-out\n", "{a,".repeat(200))];
    for bomb in bombs {
        home.file(".gitignore", bomb);
        let results = search(&home.tree, &needle()).unwrap();
        assert_eq!(paths(&results), ["kept"]);
        assert!(results.note.unwrap().starts_with("1 ignore files, or lines in them"));
    }
    // The total size is limited too.
    let many = format!("# {}\n", "x".repeat(60 * 1024));
    for path in [".gitignore", "x/.gitignore", "x/y/.gitignore"] {
        home.file(path, format!("{many}left-out\n"));
        home.file(&path.replace(".gitignore", "left-out"), "needle");
    }
    let results = search(&home.tree, &needle()).unwrap();
    assert!(results.note.unwrap().starts_with("1 ignore files"));
}

#[test]
fn rules_count_in_the_order_of_their_folders() {
    let home = Home::new();
    home.file(".git/info/exclude", "by-exclude\n");
    home.file(".gitignore", "*.log\nby-git\n/only-here\n");
    home.file(".ignore", "!kept.log\n");
    home.file("x/.gitignore", "!back.log\nfolder/\n");
    home.file("other/.git/HEAD", "");
    for path in [
        "by-exclude",
        "by-git",
        "a.log",
        "kept.log",
        "only-here",
        "x/only-here",
        "x/back.log",
        "x/by-git",
        "x/folder/y",
        "x/other",
        "other/a.log",
    ] {
        home.file(path, "needle");
    }
    let results = search(&home.tree, &needle()).unwrap();
    assert_eq!(paths(&results), ["kept.log", "other/a.log", "x/back.log", "x/only-here", "x/other"]);
    // A search in a folder of the repository applies the rules above that folder.
    let at = SearchFiles { path: Some("x".to_owned()), ..needle() };
    assert_eq!(paths(&search(&home.tree, &at).unwrap()), ["x/back.log", "x/only-here", "x/other"]);
}

#[test]
fn a_request_that_nobody_waits_for_ends() {
    let home = Home::new();
    home.file("a", "needle");
    let cancel = Cancel::default();
    let tree = home.tree.until_cancelled(cancel.clone());
    assert_eq!(search(&tree, &needle()).unwrap().matches.len(), 1);
    drop(cancel.on_drop());
    let results = search(&tree, &needle()).unwrap();
    assert!(results.truncated && results.matches.is_empty());
    assert!(list(&tree, &ListFiles::default()).unwrap().truncated);
    assert_eq!(
        read(&tree, &ReadFile { path: "a".to_owned(), ..ReadFile::default() }).unwrap_err().kind,
        FailureKind::TooLarge
    );
}

#[test]
fn the_time_is_looked_at_within_a_large_file() {
    let home = Home::new();
    home.file("large", "no match\n".repeat(100_000));
    let deadline = Deadline::after(Duration::from_millis(1));
    std::thread::sleep(Duration::from_millis(2));
    assert!(search_until(&home.tree, &needle(), &deadline).unwrap().truncated);
    let mut timed = crate::files::limits::Timed { inner: fs::File::open(home.at("large")).unwrap(), deadline };
    assert_eq!(timed.read(&mut [0; 10]).unwrap_err().kind(), std::io::ErrorKind::TimedOut);
}

/// Creates nested folders with `std::fs`, which has no limit on the depth.
fn nested(home: &Home, levels: usize) {
    let path = vec!["d"; levels].join("/");
    fs::create_dir_all(home.at(&path)).unwrap();
    fs::write(home.at(&path).join("deepest"), "needle").unwrap();
}

#[test]
fn trees_that_are_too_deep_are_refused_and_others_go() {
    let home = Home::new();
    nested(&home, 150);
    let removing = |path: &str| RemovePath { path: path.to_owned(), recursive: true };
    let failure = remove(&home.tree, &removing("d")).unwrap_err();
    assert_eq!(failure.kind, FailureKind::TooLarge);
    assert!(failure.message.starts_with("folders are nested more than 100 levels deep:"), "{failure}");
    let results = search(&home.tree, &needle()).unwrap();
    assert!(results.matches.is_empty() && results.note.unwrap().starts_with("1 files or folders could not be read"));
    remove(&home.tree, &removing(&vec!["d"; 60].join("/"))).unwrap();
    remove(&home.tree, &removing("d")).unwrap();
    assert!(home.names().is_empty());
}

#[test]
fn paths_are_as_long_as_the_system_takes_them() {
    let home = Home::new();
    let long = "a/".repeat(2500);
    let said = "the path has 5000 bytes; it may have at most 4095";
    assert_invalid(read(&home.tree, &ReadFile { path: long.clone(), ..ReadFile::default() }), said);
    assert_invalid(rename(&home.tree, &MovePath { from: long.clone(), to: "b".to_owned(), overwrite: false }), said);
    assert_invalid(write(&home.tree, &WriteFile { path: format!("{long}x"), ..WriteFile::default() }), "5001 bytes");
    assert!(home.names().is_empty());
}

#[test]
fn a_file_of_many_lines_costs_no_more_than_its_size() {
    let home = Home::new();
    let mut file = fs::File::create(home.at("f")).unwrap();
    file.write_all(&b"\n".repeat(1_000_000)).unwrap();
    file.write_all(b"end").unwrap();
    let change = |old: &str| EditFile {
        path: "f".to_owned(),
        old_text: old.to_owned(),
        new_text: "new".to_owned(),
        replace_all: false,
    };
    assert!(edit(&home.tree, &change("END")).unwrap_err().message.contains("no line resembles its first line"));
    let edited = edit(&home.tree, &change("end")).unwrap();
    assert!(edited.diff.ends_with("[… the file has too many lines for a diff …]\n"), "{}", edited.diff.len());
}

#[test]
fn a_pipe_is_neither_written_nor_edited_nor_waited_for() {
    let home = Home::new();
    mkfifo(&home.at("pipe"), Mode::S_IRWXU).unwrap();
    let path = "pipe".to_owned();
    let said = "is a named pipe, not a file";
    let writing = WriteFile { path: path.clone(), content: "x".to_owned(), ..WriteFile::default() };
    assert!(write(&home.tree, &writing).unwrap_err().message.contains(said));
    let editing =
        EditFile { path: path.clone(), old_text: "a".to_owned(), new_text: "b".to_owned(), replace_all: false };
    assert!(edit(&home.tree, &editing).unwrap_err().message.contains(said));
    rename(&home.tree, &MovePath { from: path, to: "moved".to_owned(), overwrite: false }).unwrap();
    remove(&home.tree, &RemovePath { path: "moved".to_owned(), recursive: false }).unwrap();
    assert!(home.names().is_empty());
}
