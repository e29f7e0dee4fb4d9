//! The file tools do not access the kernel's file systems, devices and the workspace agent's own folders, by any path.
#![cfg(target_os = "linux")]

use crate::files::tests::{Home, disk::in_namespace};
use crate::{
    files::{
        edit::edit,
        list::list,
        paths::{remove, rename},
        read::read,
        search::search,
        write::write,
    },
    protocol::{EditFile, Failure, FailureKind, ListFiles, MovePath, ReadFile, RemovePath, SearchFiles, WriteFile},
};
use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

fn reading(home: &Home, path: &str) -> Result<String, Failure> {
    read(&home.tree, &ReadFile { path: path.to_owned(), ..ReadFile::default() }).map(|read| read.content)
}

/// The result of each tool for a path, by the tool's name.
fn all_tools(home: &Home, path: &str) -> Vec<(&'static str, Result<String, Failure>)> {
    let path = || path.to_owned();
    let editing = EditFile { path: path(), old_text: "a".to_owned(), new_text: "b".to_owned(), replace_all: true };
    let into = MovePath { from: "mine".to_owned(), to: path(), overwrite: true };
    let out = MovePath { from: path(), to: "taken".to_owned(), overwrite: true };
    let searching = SearchFiles { pattern: ".".to_owned(), path: Some(path()), ..SearchFiles::default() };
    vec![
        ("read", reading(home, &path())),
        (
            "list",
            list(&home.tree, &ListFiles { path: Some(path()), ..ListFiles::default() }).map(|list| format!("{list:?}")),
        ),
        ("search", search(&home.tree, &searching).map(|found| format!("{found:?}"))),
        (
            "write",
            write(&home.tree, &WriteFile { path: path(), ..WriteFile::default() }).map(|done| format!("{done:?}")),
        ),
        ("edit", edit(&home.tree, &editing).map(|done| format!("{done:?}"))),
        ("move to", rename(&home.tree, &into).map(|done| format!("{done:?}"))),
        ("move from", rename(&home.tree, &out).map(|done| format!("{done:?}"))),
        ("remove", remove(&home.tree, &RemovePath { path: path(), recursive: true }).map(|done| format!("{done:?}"))),
    ]
}

#[track_caller]
fn assert_refused(home: &Home, path: &str, why: &str) {
    for (tool, result) in all_tools(home, path) {
        let failure = result.expect_err(&format!("{tool} {path}"));
        assert_eq!(failure.kind, FailureKind::Denied, "{tool} {path}: {failure}");
        assert!(failure.message.contains(why) && failure.message.contains("run_command"), "{tool} {path}: {failure}");
    }
}

const KERNEL: &str = "is in /proc, /sys, /dev or another file system of the kernel's";
const AGENT: &str = "belongs to the workspace's agent";

#[test]
fn nothing_of_the_kernels_is_reached_by_any_tool() {
    let home = Home::new();
    home.file("mine", "");
    symlink("/proc", home.at("link")).unwrap();
    symlink("/proc/self/environ", home.at("environment")).unwrap();
    symlink("link/self", home.at("second")).unwrap();
    fs::create_dir(home.at("folder")).unwrap();
    let to_root = "../".repeat(40);
    for path in [
        "/proc/self/environ",
        "/proc/self/task",
        "/proc/1/root/etc",
        "/proc/self/cwd/x",
        "/proc/self/fd/0",
        "/sys/kernel/x",
        "/dev/zero",
        "/dev/fd/0",
        "/dev/shm/x",
        "/etc/../proc/self/environ",
        "/proc/../proc/self/environ",
        "folder/../link/self/environ",
        "link/self/environ",
        "second/environ",
        &format!("{to_root}proc/self/environ"),
    ] {
        assert_refused(&home, path, KERNEL);
    }
    // The last link is followed, except by the tools that move or remove the link itself.
    for (tool, result) in all_tools(&home, "environment") {
        match tool {
            "read" | "list" | "search" | "write" | "edit" => assert_eq!(result.unwrap_err().kind, FailureKind::Denied),
            _ => {}
        }
    }
    for folder in ["/proc", "/sys", "/dev"] {
        for request in [folder, &format!("{folder}/."), &format!("//{folder}/")] {
            let listed =
                list(&home.tree, &ListFiles { path: Some(request.to_owned()), ..ListFiles::default() }).unwrap_err();
            assert!(listed.message.contains(KERNEL), "{listed}");
            let gone = remove(&home.tree, &RemovePath { path: request.to_owned(), recursive: true }).unwrap_err();
            assert!(gone.message.contains(KERNEL), "{gone}");
        }
    }
    // Their names are not secret.
    let root = list(
        &home.tree,
        &ListFiles {
            path: Some("/".to_owned()),
            depth: Some(2),
            limit: Some(2000),
            max_bytes: Some(1 << 20),
            ..ListFiles::default()
        },
    )
    .unwrap();
    let names: Vec<_> = root.entries.iter().map(|entry| entry.path.as_str()).collect();
    assert!(names.contains(&"/proc") && !names.iter().any(|name| name.starts_with("/proc/")));
}

#[test]
fn the_agents_folders_are_its_own_and_output_can_be_read() {
    let home = Home::new();
    home.file("mine", "");
    let at = |path: &str| home.folder.path().join(path).to_str().unwrap().to_owned();
    for folder in ["own/run", "output"] {
        fs::create_dir_all(home.folder.path().join(folder)).unwrap();
    }
    fs::write(at("own/binary"), "binary").unwrap();
    fs::write(at("output/1.stdout"), "said").unwrap();
    symlink("../own", home.at("link")).unwrap();
    for path in [at("own/binary"), at("own/run/x"), "link/binary".to_owned(), "../own/run/../binary".to_owned()] {
        assert_refused(&home, &path, AGENT);
    }
    let output = at("output/1.stdout");
    for (tool, result) in all_tools(&home, &output) {
        match tool {
            "read" => assert_eq!(result.unwrap(), "said"),
            "search" => assert!(result.unwrap().contains("said")),
            "list" => assert_eq!(result.unwrap_err().kind, FailureKind::Conflict),
            _ => assert!(result.unwrap_err().message.contains(AGENT), "{tool}"),
        }
    }
    let listed = list(&home.tree, &ListFiles { path: Some(at("output")), ..ListFiles::default() }).unwrap();
    assert_eq!(listed.entries.len(), 1);
    // The folders themselves cannot be removed or moved.
    for path in [at("own"), at("output"), at("link")] {
        let failure = remove(&home.tree, &RemovePath { path: path.clone(), recursive: true });
        if path == at("link") {
            assert_eq!(failure.unwrap_err().kind, FailureKind::NotFound);
        } else {
            assert!(failure.unwrap_err().message.contains(AGENT));
            let moving = MovePath { from: path, to: "taken".to_owned(), overwrite: false };
            assert!(rename(&home.tree, &moving).unwrap_err().message.contains(AGENT));
        }
    }
    assert_eq!(fs::read_to_string(at("own/binary")).unwrap(), "binary");
    let found =
        search(&home.tree, &SearchFiles { pattern: "binary".to_owned(), path: Some(at("")), ..SearchFiles::default() });
    assert!(found.unwrap().matches.is_empty());
}

#[test]
fn a_folder_that_is_swapped_for_a_link_meanwhile_leads_nowhere_else() {
    let home = Home::new();
    home.file("real/environ", "harmless");
    symlink("/proc/self", home.at("bad")).unwrap();
    let (path, over) = (home.at(""), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let _ = fs::rename(path.join("real"), path.join("aside"));
                let _ = fs::rename(path.join("bad"), path.join("real"));
                let _ = fs::rename(path.join("real"), path.join("bad"));
                let _ = fs::rename(path.join("aside"), path.join("real"));
            }
        });
        for _ in 0..2000 {
            if let Ok(content) = reading(&home, "real/environ") {
                assert_eq!(content, "harmless");
            }
            let found = search(&home.tree, &SearchFiles { pattern: "PATH".to_owned(), ..SearchFiles::default() });
            assert!(found.is_ok_and(|found| found.matches.is_empty()));
        }
        over.store(true, Ordering::Relaxed);
    });
}

fn check_mounts(folder: &Path) {
    let home = Home::new();
    home.file("mine", "");
    let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    for path in ["proc/self/environ", "proc/x", "processes/environ", "sys/x"] {
        assert_refused(&home, &at(path), KERNEL);
    }
    // A single file, mounted in a folder of the workspace: the system prevents a move.
    for (tool, result) in all_tools(&home, &at("version")) {
        let failure = result.expect_err(tool);
        let reads = ["read", "search", "edit"].contains(&tool);
        assert!(failure.message.contains(KERNEL) || !reads, "{tool}: {failure}");
    }
}

#[test]
fn what_is_mounted_elsewhere_is_known_by_what_it_is() {
    let script = "mkdir \"$1/proc\" \"$1/sys\" \"$1/processes\"
                  touch \"$1/version\"
                  mount -t proc proc \"$1/proc\"
                  mount --rbind /sys \"$1/sys\"
                  mount --bind \"$1/proc/self\" \"$1/processes\"
                  mount --bind \"$1/proc/version\" \"$1/version\"";
    let options = ["--map-root-user", "--mount", "--pid", "--fork"];
    in_namespace(
        &options,
        script,
        "files::tests::guarded::what_is_mounted_elsewhere_is_known_by_what_it_is",
        check_mounts,
    );
}
