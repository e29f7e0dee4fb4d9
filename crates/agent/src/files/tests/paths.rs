//! Resolving paths, and moving and removing files and folders.

use crate::files::tests::{Home, assert_failed};
use crate::{
    files::{
        Reach,
        edit::edit,
        paths::{remove, rename},
        read::read,
        tree::{Access, Tree},
        write::write,
    },
    protocol::{EditFile, FailureKind, MovePath, ReadFile, RemovePath, WriteFile},
};
use proptest::{collection::vec, prelude::*, sample::select};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::{Path, PathBuf},
};

fn moving(from: &str, to: &str, overwrite: bool) -> MovePath {
    MovePath { from: from.to_owned(), to: to.to_owned(), overwrite }
}

fn removing(path: &str, recursive: bool) -> RemovePath {
    RemovePath { path: path.to_owned(), recursive }
}

#[test]
fn relative_paths_start_at_home() {
    let home = Home::new();
    symlink("b/c", home.at("link")).unwrap();
    symlink("/etc", home.at("absolute")).unwrap();
    symlink("not/there", home.at("dangling")).unwrap();
    let rows = [
        (".", "/home"),
        ("~", "/home"),
        ("~/", "/home"),
        ("~//a", "/home/a"),
        ("a/./b//c/", "/home/a/b/c"),
        ("a/../b", "/home/b"),
        ("..", ""),
        ("link/../d", "/home/b/d"),
        ("dangling", "/home/not/there"),
        ("dangling/x", "/home/not/there/x"),
        ("~b", "/home/~b"),
    ];
    let root = home.folder.path().canonicalize().unwrap();
    for (path, expected) in rows {
        let real = home.tree.follow(path, Access::Change).unwrap().path;
        assert_eq!(real, PathBuf::from(format!("{}{expected}", root.display())), "{path}");
    }
    assert_eq!(home.tree.follow("absolute/x", Access::Change).unwrap().path, Path::new("/etc/x"));
    assert_eq!(home.tree.follow("/../../etc", Access::Change).unwrap().path, Path::new("/etc"));
    assert_eq!(home.tree.entry("link").unwrap().path, root.join("home/link"));
}

#[test]
fn what_is_no_path_is_refused_by_name() {
    let home = Home::confined();
    symlink("circle", home.at("circle")).unwrap();
    symlink("/etc/passwd", home.at("out")).unwrap();
    symlink("../new", home.at("dangling")).unwrap();
    let out = |path: &str| format!("{path} is outside of the workspace's home folder: use paths in /home");
    let rows = [
        ("", FailureKind::Invalid, "the path is empty: pass a file or folder; `.` is the home folder".to_owned()),
        (
            "a\0b",
            FailureKind::Invalid,
            "the path has a NUL character, which file names cannot have: remove it".to_owned(),
        ),
        ("circle/x", FailureKind::Invalid, "cannot follow the path /home/circle/x: its links form a loop".to_owned()),
        ("/etc/passwd", FailureKind::Denied, out("/etc/passwd")),
        ("../home2", FailureKind::Denied, out("../home2")),
        ("out", FailureKind::Denied, out("out")),
        ("dangling", FailureKind::Denied, out("dangling")),
        ("~/../x", FailureKind::Denied, out("~/../x")),
    ];
    for (path, kind, message) in rows {
        assert_failed(&home, home.tree.follow(path, Access::Read), kind, &message);
    }
    let long = "x".repeat(300);
    let failure = home.tree.follow(&long, Access::Read).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Invalid);
    assert!(failure.message.ends_with("the name is too long"), "{failure}");
}

#[test]
fn a_confined_tree_may_have_folders_to_look_at() {
    let home = Home::confined();
    fs::create_dir(home.folder.path().join("output")).unwrap();
    let file = home.folder.path().join("output/1.stdout");
    let file = file.to_str().unwrap();
    assert!(home.tree.follow(file, Access::Read).is_ok());
    assert_eq!(home.tree.follow(file, Access::Change).unwrap_err().kind, FailureKind::Denied);
    assert_eq!(home.tree.entry(file).unwrap_err().kind, FailureKind::Denied);
}

#[test]
fn a_confined_tree_has_its_folder_for_temporary_files() {
    let home = Home::confined();
    let root = home.folder.path().canonicalize().unwrap();
    fs::create_dir(root.join("tmp")).unwrap();
    let reach = Reach { confine: true, temporary: Some(root.join("tmp")), ..Reach::default() };
    let tree = Tree::new(home.at(""), reach);
    let path = root.join("tmp/made/by.txt").to_string_lossy().into_owned();
    let request = WriteFile { path: path.clone(), content: "x".to_owned(), ..WriteFile::default() };
    assert_eq!(write(&tree, &request).unwrap().path, path);
    assert_eq!(read(&tree, &ReadFile { path: path.clone(), ..ReadFile::default() }).unwrap().content, "x");
    rename(&tree, &moving(&path, "here", false)).unwrap();
    assert_eq!(home.content("here"), "x");
    for (path, kind) in [("/tmp/x", FailureKind::Denied), ("../home2", FailureKind::Denied)] {
        let failure = tree.follow(path, Access::Read).unwrap_err();
        let said = format!("or in {}/tmp, which is $TMPDIR", root.display());
        assert!(failure.kind == kind && failure.message.ends_with(&said), "{failure}");
    }
    assert_eq!(
        remove(&tree, &removing(&root.join("tmp").to_string_lossy(), true)).unwrap_err().kind,
        FailureKind::Denied
    );
}

#[test]
fn without_a_home_nothing_is_found() {
    let home = Home::new();
    fs::remove_dir(home.at("")).unwrap();
    let message = "cannot find the home folder /home: no such file or folder";
    assert_failed(&home, home.tree.follow("a", Access::Read), FailureKind::NotFound, message);
}

/// A folder or link that exists before a path is resolved.
#[derive(Clone, Debug)]
enum Thing {
    Folder(String),
    Link { at: String, to: String },
}

/// Paths of few names, so that they often coincide; `ROOT` is the parent of the home folder.
fn some_path() -> impl Strategy<Value = String> {
    let names = vec(select(vec!["a", "b", "c", "..", ".", "home", "outside"]), 1..5);
    (select(vec!["", "", "", "~/", "ROOT/", "ROOT/home/", "/"]), names)
        .prop_map(|(start, names)| format!("{start}{}", names.join("/")))
}

fn some_things() -> impl Strategy<Value = Vec<Thing>> {
    let inside = || vec(select(vec!["a", "b", "c"]), 1..4).prop_map(|names| names.join("/"));
    let link = (inside(), some_path()).prop_map(|(at, to)| Thing::Link { at, to });
    vec(prop_oneof![inside().prop_map(Thing::Folder), link], 0..8)
}

proptest! {
    #[test]
    fn no_path_leaves_a_confined_home(things in some_things(), path in some_path()) {
        let home = Home::confined();
        let root = home.folder.path().canonicalize().unwrap();
        let placed = |path: &str| path.replace("ROOT", &root.to_string_lossy());
        fs::create_dir(root.join("outside")).unwrap();
        for thing in things {
            // Some conflict with each other; the others are created.
            let _ = match thing {
                Thing::Folder(at) => fs::create_dir_all(home.at(&at)),
                Thing::Link { at, to } => symlink(placed(&to), home.at(&at)),
            };
        }
        let before = outside(&root);
        let path = placed(&path);
        let named = match path.strip_prefix("~/") {
            Some(rest) => root.join("home").join(rest),
            None => root.join("home").join(&path),
        };
        let real = home.tree.follow(&path, Access::Change).map(|spot| spot.path);
        if let Ok(real) = &real {
            prop_assert!(real.starts_with(root.join("home")), "{real:?}");
            let there = real.ancestors().find(|part| part.symlink_metadata().is_ok()).unwrap();
            prop_assert_eq!(there.canonicalize().unwrap(), there, "a link is left");
        }
        // The kernel's own resolution is the reference.
        if let Ok(expected) = fs::canonicalize(&named) {
            prop_assert_eq!(real.is_ok(), expected.starts_with(root.join("home")));
            if let Ok(real) = real {
                prop_assert_eq!(real, expected);
            }
        }
        let _ = write(&home.tree, &WriteFile { path: path.clone(), content: "x".to_owned(), ..WriteFile::default() });
        let _ = rename(&home.tree, &moving("a", &path, true));
        let _ = rename(&home.tree, &moving(&path, "c", true));
        let _ = remove(&home.tree, &removing(&path, true));
        prop_assert_eq!(outside(&root), before);
        prop_assert!(home.at("").is_dir());
    }
}

/// All files and folders outside of the home folder.
fn outside(root: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let mut found = list(root);
    found.extend(list(&root.join("outside")));
    found.sort();
    found
}

#[test]
fn moving_says_what_is_in_the_way() {
    let home = Home::new();
    home.file("file", "");
    home.file("other", "");
    home.file("folder/file", "");
    let rows = [
        (moving("none", "x", false), FailureKind::NotFound, "cannot move /home/none: no such file or folder"),
        (
            moving("file", "./file", false),
            FailureKind::Invalid,
            "/home/file exists already: `from` and `to` are the same",
        ),
        (moving("folder", "folder/in", false), FailureKind::Invalid, "/home/folder cannot be moved into itself"),
        (
            moving("file", "folder", true),
            FailureKind::Conflict,
            "/home/folder is a folder: pass a path in it, or remove it first",
        ),
        (
            moving("file", "other", false),
            FailureKind::Conflict,
            "/home/other exists already: set overwrite to replace it",
        ),
        (
            moving("folder", "other", true),
            FailureKind::Conflict,
            "/home/other is a file, and a folder cannot replace it: remove it first",
        ),
        (
            moving("file", "other/x", false),
            FailureKind::Conflict,
            "cannot create the folder /home/other: a file or folder of that name exists",
        ),
        (
            moving(".", "x", false),
            FailureKind::Denied,
            "/home is or contains the workspace's home folder, which cannot be moved: pass a path in it",
        ),
    ];
    for (request, kind, message) in rows {
        assert_failed(&home, rename(&home.tree, &request), kind, message);
    }
    assert_eq!(home.names(), ["file", "folder", "other"]);
}

#[test]
fn a_path_that_ends_with_a_slash_names_a_folder() {
    let home = Home::new();
    home.file("file.txt", "old");
    home.file("folder/x", "");
    symlink("folder", home.at("link")).unwrap();
    for path in ["file.txt/", "file.txt//", "file.txt/."] {
        let said = format!("{path} requires a folder, but /home/file.txt is not one: remove the slash");
        let new = || WriteFile { path: path.to_owned(), content: "new".to_owned(), ..WriteFile::default() };
        let change = EditFile {
            path: path.to_owned(),
            old_text: "old".to_owned(),
            new_text: "new".to_owned(),
            replace_all: false,
        };
        let conflict = FailureKind::Conflict;
        assert_failed(
            &home,
            read(&home.tree, &ReadFile { path: path.to_owned(), ..ReadFile::default() }),
            conflict,
            &said,
        );
        assert_failed(&home, edit(&home.tree, &change), conflict, &said);
        assert_failed(&home, remove(&home.tree, &removing(path, true)), conflict, &said);
        assert_failed(&home, rename(&home.tree, &moving(path, "moved", false)), conflict, &said);
        assert_failed(&home, rename(&home.tree, &moving("folder/x", path, true)), conflict, &said);
        let said = format!("{path} denotes a folder: add the name of the file");
        assert_failed(&home, write(&home.tree, &new()), FailureKind::Invalid, &said);
    }
    for path in ["archive/", "archive/."] {
        let said = format!("{path} denotes a folder: add the name of the file");
        assert_failed(&home, rename(&home.tree, &moving("file.txt", path, false)), FailureKind::Invalid, &said);
    }
    // A link is not its target folder.
    assert_eq!(remove(&home.tree, &removing("link/", true)).unwrap_err().kind, FailureKind::Conflict);
    assert_eq!(home.names(), ["file.txt", "folder", "link"]);
    rename(&home.tree, &moving("folder/", "renamed/", false)).unwrap();
    remove(&home.tree, &removing("renamed/", true)).unwrap();
    assert_eq!(home.names(), ["file.txt", "link"]);
}

#[test]
fn a_name_that_is_not_utf8_is_moved_and_removed() {
    let home = Home::new();
    let name = OsStr::from_bytes(b"caf\xe9.txt");
    for operation in ["remove", "move", "write"] {
        fs::write(home.at("").join(name), "old").unwrap();
        match operation {
            "remove" => assert_eq!(remove(&home.tree, &removing("caf%E9.txt", false)).unwrap().path, "caf%E9.txt"),
            "move" => assert_eq!(rename(&home.tree, &moving("caf%E9.txt", "b", false)).unwrap().from, "caf%E9.txt"),
            _ => {
                let new =
                    WriteFile { path: "caf%E9.txt".to_owned(), content: "new".to_owned(), ..WriteFile::default() };
                assert!(!write(&home.tree, &new).unwrap().created);
                assert_eq!(fs::read(home.at("").join(name)).unwrap(), b"new");
                continue;
            }
        }
        assert!(!home.at("").join(name).exists(), "{operation}");
    }
}

#[test]
fn links_are_moved_and_removed_themselves() {
    let home = Home::new();
    home.file("target/file", "kept");
    symlink("target", home.at("link")).unwrap();
    rename(&home.tree, &moving("link", "new/../moved", false)).unwrap();
    assert_eq!(fs::read_link(home.at("moved")).unwrap(), Path::new("target"));
    remove(&home.tree, &removing("moved", true)).unwrap();
    assert_eq!(home.content("target/file"), "kept");
    home.file("a", "a");
    home.file("b", "b");
    rename(&home.tree, &moving("a", "b", true)).unwrap();
    assert_eq!(home.content("b"), "a");
    assert_eq!(home.names(), ["b", "target"]);
}

#[test]
fn removing_keeps_what_was_not_meant() {
    let home = Home::new();
    home.file("folder/file", "");
    fs::create_dir(home.at("empty")).unwrap();
    let home_stays =
        |path| format!("{path} is or contains the workspace's home folder, which cannot be removed: pass a path in it");
    let rows = [
        ("none", FailureKind::NotFound, "cannot remove /home/none: no such file or folder".to_owned()),
        ("folder", FailureKind::Conflict, "/home/folder is not an empty folder: set recursive".to_owned()),
        ("~", FailureKind::Denied, home_stays("/home")),
        ("folder/..", FailureKind::Denied, home_stays("/home")),
        ("/", FailureKind::Denied, home_stays("/")),
    ];
    for (path, kind, message) in rows {
        assert_failed(&home, remove(&home.tree, &removing(path, false)), kind, &message);
    }
    assert_eq!(remove(&home.tree, &removing("/", true)).unwrap_err().kind, FailureKind::Denied);
    remove(&home.tree, &removing("empty", false)).unwrap();
    remove(&home.tree, &removing("folder", true)).unwrap();
    assert!(home.names().is_empty());
}
