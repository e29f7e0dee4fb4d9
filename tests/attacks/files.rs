//! What `files:read` and `files:write` were not meant for: to stop the server, or to reach what only commands may.

use crate::{
    agent::{Answer, Tokens},
    stage::Stage,
};
use futures::future::join_all;
use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::timeout;

/// Longer than anything here takes on a busy machine.
const LONG: Duration = Duration::from_mins(1);
const KERNEL: &str = "is in /proc, /sys, /dev or another file system of the kernel's";

/// A server with a workspace, and an agent that may read and write files in it, but run no commands.
struct Scene {
    stage: Stage,
    tokens: Tokens,
    home: PathBuf,
}

impl Scene {
    async fn start() -> Self {
        let stage = Stage::with(|setup| setup.workspaces = true).await;
        let code = stage.code(&[("scope", "workspaces:write")]).await;
        let maker = stage.redeem(&code, &[]).await.tokens();
        let made = call(&stage, &maker, "create_workspace", json!({"template": "blank", "name": "web"})).await;
        let made = made.json();
        let home =
            PathBuf::from(made["result"]["structuredContent"]["home"].as_str().unwrap_or_else(|| panic!("{made}")));
        let code = stage.code(&[("scope", "files:read files:write")]).await;
        let tokens = stage.redeem(&code, &[]).await.tokens();
        fs::write(home.join("kept"), "needle\n").unwrap();
        Self { stage, tokens, home }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.home.join(path)
    }

    fn pipe(&self, path: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        mkfifo(&self.at(path), Mode::S_IRWXU).unwrap();
    }

    /// What a tool answers, or else why not.
    async fn tool(&self, tool: &str, mut arguments: Value) -> Result<Value, String> {
        arguments["workspace"] = json!("web");
        let answer = timeout(LONG, call(&self.stage, &self.tokens, tool, arguments)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{tool} hangs")).json();
        let result = &answer["result"];
        if result["isError"] == false {
            return Ok(result["structuredContent"].clone());
        }
        Err(result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned())
    }

    async fn search(&self, arguments: Value) -> Result<Value, String> {
        self.tool("search_files", arguments).await
    }

    async fn finds_what_is_there(&self) -> String {
        let found = self.search(json!({"pattern": "needle"})).await.unwrap();
        assert_eq!(found["matches"][0]["path"], "kept", "{found}");
        found["note"].as_str().unwrap_or_default().to_owned()
    }

    /// Every tool refuses the path with these words.
    async fn refuses(&self, path: &str, why: &str) {
        let calls = [
            ("read_file", json!({"path": path})),
            ("list_files", json!({"path": path})),
            ("search_files", json!({"path": path, "pattern": "."})),
            ("write_file", json!({"path": path, "content": "x"})),
            ("edit_file", json!({"path": path, "old_text": "a", "new_text": "b"})),
            ("move_path", json!({"from": path, "to": "taken"})),
            ("move_path", json!({"from": "kept", "to": path, "overwrite": true})),
            ("remove_path", json!({"path": path, "recursive": true})),
        ];
        for (tool, arguments) in calls {
            let said = self.tool(tool, arguments).await.unwrap_err();
            assert!(said.contains(why) && said.contains("run_command"), "{tool} {path}: {said}");
        }
    }

    async fn end(self) {
        self.finds_what_is_there().await;
        // Nothing keeps the server from ending.
        timeout(LONG, self.stage.stop()).await.unwrap();
    }
}

async fn call(stage: &Stage, tokens: &Tokens, tool: &str, arguments: Value) -> Answer {
    stage.call_at(0, &tokens.access, "tools/call", json!({"name": tool, "arguments": arguments})).await
}

/// A glob of 20,000 nested braces, which would overflow the stack → refused by its length, and the server goes on.
#[tokio::test]
async fn a_glob_of_nested_braces() {
    let scene = Scene::start().await;
    for glob in ["{".repeat(20_000), format!("{}a{}", "{".repeat(20_000), "}".repeat(20_000))] {
        let refused = scene.search(json!({"pattern": "x", "glob": glob})).await.unwrap_err();
        assert!(refused.contains("at most 1000"), "{refused}");
    }
    scene.end().await;
}

/// Braces nested in a shorter glob, hidden from who counts them by classes and escapes → refused by their number.
#[tokio::test]
async fn braces_that_are_hidden() {
    let scene = Scene::start().await;
    for glob in ["{".repeat(999), "[}]{".repeat(200), "\\}{".repeat(300), "{a,".repeat(300)] {
        let refused = scene.search(json!({"pattern": "x", "glob": glob})).await.unwrap_err();
        assert!(refused.contains("opening braces"), "{refused}");
    }
    scene.end().await;
}

/// Regular expressions that take hundreds of megabytes when they are compiled, eight at once → refused at a few.
#[tokio::test]
async fn regular_expressions_that_take_memory() {
    let scene = Scene::start().await;
    for pattern in [r"(\pL{50}){40}".to_owned(), r"((((\w{9}){9}){9}){9}){9}".to_owned()] {
        let searches = (0..8).map(|_| scene.search(json!({"pattern": pattern})));
        for refused in join_all(searches).await {
            assert!(refused.unwrap_err().contains("takes more than 2 MiB"));
        }
    }
    let deep = format!("{}a{}", "(".repeat(400), ")".repeat(400));
    assert!(scene.search(json!({"pattern": deep})).await.unwrap_err().contains("nest"));
    assert!(scene.search(json!({"pattern": "a".repeat(100_000)})).await.unwrap_err().contains("at most 1000"));
    scene.end().await;
}

/// A named pipe called `.gitignore`, whose other end nobody opens → not waited for, by the search nor by the server's end.
#[tokio::test]
async fn a_pipe_as_gitignore() {
    let scene = Scene::start().await;
    scene.pipe(".gitignore");
    scene.pipe("deep/.gitignore");
    assert!(scene.finds_what_is_there().await.contains("2 ignore files"));
    scene.end().await;
}

/// The same called `.ignore`, `.git/info/exclude` or `.git`, and in the folders above → not waited for.
#[tokio::test]
async fn a_pipe_as_another_ignore_file() {
    let scene = Scene::start().await;
    for path in [".ignore", ".git/info/exclude", "deep/.git", "deep/.ignore"] {
        scene.pipe(path);
    }
    fs::write(scene.at("deep/file"), "pin").unwrap();
    scene.finds_what_is_there().await;
    let found = scene.search(json!({"pattern": "pin", "path": "deep"})).await.unwrap();
    assert_eq!(found["matches"][0]["path"], "deep/file", "{found}");
    scene.end().await;
}

/// An ignore file is a link to a pipe, to `/dev/zero` or to a file of somebody else's → it is not followed.
#[tokio::test]
async fn an_ignore_file_that_is_a_link() {
    let scene = Scene::start().await;
    scene.pipe("pipe");
    for target in ["pipe", "/dev/zero", "/proc/kmsg", "/etc/hostname"] {
        symlink(target, scene.at(".gitignore")).unwrap();
        assert!(scene.finds_what_is_there().await.contains("1 ignore files"), "{target}");
        fs::remove_file(scene.at(".gitignore")).unwrap();
    }
    scene.end().await;
}

/// An ignore file of a terabyte, and one of nested braces → the first does not count, of the second the other lines do.
#[tokio::test]
async fn an_ignore_file_that_is_a_bomb() {
    let scene = Scene::start().await;
    fs::File::create(scene.at(".gitignore")).unwrap().set_len(1 << 40).unwrap();
    assert!(scene.finds_what_is_there().await.contains("1 ignore files"));
    fs::write(scene.at(".gitignore"), format!("{}\nignored\n", "{".repeat(20_000))).unwrap();
    fs::write(scene.at("ignored"), "needle").unwrap();
    assert!(scene.finds_what_is_there().await.contains("lines in them"));
    let found = scene.search(json!({"pattern": "needle"})).await.unwrap();
    assert_eq!(found["matches"].as_array().unwrap().len(), 1, "{found}");
    scene.end().await;
}

/// A pipe or a socket is read, searched, edited and written → refused at once, by its name.
#[tokio::test]
async fn files_that_are_none() {
    let scene = Scene::start().await;
    scene.pipe("pipe");
    let _socket = UnixListener::bind(scene.at("socket")).unwrap();
    for path in ["pipe", "socket"] {
        for (tool, arguments) in [
            ("read_file", json!({"path": path})),
            ("search_files", json!({"path": path, "pattern": "x"})),
            ("edit_file", json!({"path": path, "old_text": "a", "new_text": "b"})),
            ("write_file", json!({"path": path, "content": "x"})),
        ] {
            let refused = scene.tool(tool, arguments).await.unwrap_err();
            assert!(refused.contains("not a file"), "{tool} {path}: {refused}");
        }
    }
    scene.end().await;
}

/// A tree of folders deeper than the stack or the open files allow is searched and removed → refused, and in parts it
/// can be removed.
#[tokio::test]
async fn a_tree_that_is_too_deep() {
    let scene = Scene::start().await;
    let path = "d/".repeat(300);
    fs::create_dir_all(scene.at(&path)).unwrap();
    let refused = scene.tool("remove_path", json!({"path": "d", "recursive": true})).await.unwrap_err();
    assert!(refused.contains("more than 100 levels deep"), "{refused}");
    assert!(scene.finds_what_is_there().await.contains("could not be read"));
    for levels in [220, 140, 60, 1] {
        let path = "d/".repeat(levels);
        scene.tool("remove_path", json!({"path": path, "recursive": true})).await.unwrap();
    }
    let refused = scene.tool("read_file", json!({"path": "d/".repeat(100_000)})).await.unwrap_err();
    assert!(refused.contains("at most 4095"), "{refused}");
    scene.end().await;
}

/// `/proc/self/environ`, which holds what the server was started with, by its path, by `..` and by `/dev/fd` → refused
/// by every tool.
#[tokio::test]
async fn the_servers_environment_by_its_path() {
    let scene = Scene::start().await;
    let up = "../".repeat(60);
    for path in [
        "/proc/self/environ",
        "/proc/../proc/self/environ",
        &format!("{up}proc/self/environ"),
        "/dev/fd/../environ",
        "/proc/self/fd/0",
        "/proc/self/root/etc/passwd",
        "/proc/self/cwd/x",
    ] {
        scene.refuses(path, KERNEL).await;
    }
    scene.end().await;
}

/// Links in the workspace lead to `/proc/self/environ`, on several ways → refused by what is opened, not by the path.
#[tokio::test]
async fn the_servers_environment_by_links() {
    let scene = Scene::start().await;
    symlink("/proc/self", scene.at("direct")).unwrap();
    symlink("direct/../self", scene.at("indirect")).unwrap();
    symlink(format!("{}proc", "../".repeat(60)), scene.at("relative")).unwrap();
    symlink("/proc/self/root/proc/self", scene.at("magic")).unwrap();
    for path in ["direct/environ", "indirect/environ", "relative/self/environ", "magic/environ"] {
        scene.refuses(path, KERNEL).await;
    }
    symlink("/proc/self/environ", scene.at("file")).unwrap();
    for (tool, arguments) in [
        ("read_file", json!({"path": "file"})),
        ("search_files", json!({"path": "file", "pattern": "."})),
        ("write_file", json!({"path": "file", "content": "x"})),
    ] {
        assert!(scene.tool(tool, arguments).await.unwrap_err().contains(KERNEL), "{tool}");
    }
    // Below the home folder links are not followed, and so nothing is found by them.
    let found = scene.search(json!({"pattern": "PATH|HOME"})).await.unwrap();
    assert_eq!(found["matches"], json!([]), "{found}");
    scene.end().await;
}

/// A folder is swapped for a link to `/proc/self` while files in it are read and searched → the folder's file or an
/// error, and nothing of the server's.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_swapped_in_meanwhile() {
    let scene = Scene::start().await;
    fs::create_dir(scene.at("folder")).unwrap();
    fs::write(scene.at("folder/environ"), "harmless").unwrap();
    symlink("/proc/self", scene.at("link")).unwrap();
    let home = scene.home.clone();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let swapping = std::thread::spawn(move || {
        let swap = |from: &str, to: &str| drop(fs::rename(home.join(from), home.join(to)));
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            swap("folder", "aside");
            swap("link", "folder");
            swap("folder", "link");
            swap("aside", "folder");
        }
    });
    for _ in 0..100 {
        let reads = (0..4).map(|_| scene.tool("read_file", json!({"path": "folder/environ"})));
        for read in join_all(reads).await.into_iter().flatten() {
            assert_eq!(read["content"], "harmless");
        }
        let found = scene.search(json!({"pattern": "PATH|HOME"})).await.unwrap();
        assert_eq!(found["matches"], json!([]), "{found}");
    }
    drop(stop);
    swapping.join().unwrap();
    scene.end().await;
}

/// `/proc`, `/sys` and `/dev` are listed and searched, and with them the whole file system → refused.
#[tokio::test]
async fn folders_of_the_kernel() {
    let scene = Scene::start().await;
    for path in ["/proc", "/proc/self/task", "/sys", "/sys/fs/cgroup", "/dev", "/dev/shm", "/dev/fd"] {
        for (tool, arguments) in
            [("list_files", json!({"path": path, "depth": 3})), ("search_files", json!({"path": path, "pattern": "."}))]
        {
            assert!(scene.tool(tool, arguments).await.unwrap_err().contains(KERNEL), "{tool} {path}");
        }
    }
    assert!(scene.tool("list_files", json!({"path": "/", "depth": 2})).await.unwrap_err().contains("is outside of"));
    scene.end().await;
}

/// Something is moved out of `/proc`, into it, or removed there → refused at both ends.
#[tokio::test]
async fn moves_out_of_the_kernels_folders() {
    let scene = Scene::start().await;
    for (from, to) in [
        ("/proc/self/environ", "taken"),
        ("/proc/version", "taken"),
        ("kept", "/proc/self/comm"),
        ("kept", "/dev/shm/x"),
    ] {
        let refused = scene.tool("move_path", json!({"from": from, "to": to, "overwrite": true})).await.unwrap_err();
        assert!(refused.contains(KERNEL), "{refused}");
    }
    assert!(!scene.at("taken").exists() && !Path::new("/dev/shm/x").exists());
    scene.end().await;
}
