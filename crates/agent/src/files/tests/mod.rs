//! Tests of the operations on real files, and through the routes.

mod bounds;
mod disk;
mod edit;
mod guarded;
mod look;
mod paths;
mod read;
mod write;

use crate::Journal;
use crate::files::{Files, Reach, tree::Tree};
use crate::protocol::{Failure, FailureKind};
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use portcullis_core::clock::SystemClock;
use serde_json::{Value, json};
use std::{path::PathBuf, sync::Arc};
use tempfile::TempDir;
use tower::ServiceExt as _;

/// A home folder in an otherwise empty folder.
struct Home {
    folder: TempDir,
    tree: Tree,
}

impl Home {
    fn new() -> Self {
        Self::with(false)
    }

    fn confined() -> Self {
        Self::with(true)
    }

    fn with(confine: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        std::fs::create_dir(&home).unwrap();
        let own = vec![folder.path().join("own")];
        let reach = Reach { confine, temporary: None, own, output: Some(folder.path().join("output")) };
        Self { tree: Tree::new(home, reach), folder }
    }

    /// The absolute path of a path in the home folder.
    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("home").join(path)
    }

    /// Creates a file and its parent folders.
    fn file(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    fn content(&self, path: &str) -> String {
        std::fs::read_to_string(self.at(path)).unwrap()
    }

    /// The message without the path of the temporary folder.
    fn said(&self, failure: &Failure) -> String {
        failure.message.replace(&*self.folder.path().canonicalize().unwrap().to_string_lossy(), "")
    }

    /// The names of all files and folders directly in the home folder.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.at("")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Asserts the kind and the message of a failure.
#[track_caller]
fn assert_failed<A: std::fmt::Debug>(home: &Home, result: Result<A, Failure>, kind: FailureKind, message: &str) {
    let failure = result.expect_err(message);
    assert_eq!((failure.kind, home.said(&failure).as_str()), (kind, message));
}

async fn post(files: &Files, path: &str, body: String) -> (StatusCode, Value) {
    let request = Request::post(path).body(Body::from(body)).unwrap();
    let response = files.clone().router().oneshot(request).await.unwrap();
    let status = response.status();
    (status, serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap())
}

#[tokio::test]
async fn every_route_does_its_work() {
    let home = Home::new();
    let files = Files::new(home.at(""), Reach::default(), Journal::in_memory(Arc::new(SystemClock)));
    let rows = [
        ("/files/write", json!({"path": "src/a.txt", "content": "one\ntwo\n"}), "/created", json!(true)),
        ("/files/read", json!({"path": "src/a.txt", "start_line": 2}), "/content", json!("two\n")),
        ("/files/edit", json!({"path": "src/a.txt", "old_text": "two", "new_text": "2"}), "/replacements", json!(1)),
        ("/files/search", json!({"pattern": "^2$"}), "/matches/0/path", json!("src/a.txt")),
        ("/files/move", json!({"from": "src/a.txt", "to": "b/c.txt"}), "/to", json!("b/c.txt")),
        ("/files/list", json!({"depth": 2}), "/entries/1/path", json!("b/c.txt")),
        ("/files/remove", json!({"path": "b", "recursive": true}), "/path", json!("b")),
    ];
    for (route, request, pointer, expected) in rows {
        let (status, answer) = post(&files, route, request.to_string()).await;
        assert_eq!(status, StatusCode::OK, "{route}: {answer}");
        assert_eq!(answer.pointer(pointer), Some(&expected), "{route}: {answer}");
    }
    assert_eq!(home.names(), ["src"]);
}

#[tokio::test]
async fn failures_have_a_status_and_say_why() {
    let home = Home::confined();
    home.file("a", "");
    let files =
        Files::new(home.at(""), Reach { confine: true, ..Reach::default() }, Journal::in_memory(Arc::new(SystemClock)));
    let large = "a".repeat(34 * 1024 * 1024);
    let rows = [
        ("/files/read", "{".to_owned(), 400, "the request cannot be read: EOF while parsing an object"),
        ("/files/read", json!(["a"]).to_string(), 400, "the request must be a JSON object, not an array"),
        ("/files/read", json!({"path": ""}).to_string(), 400, "the path is empty"),
        ("/files/read", json!({"path": "../x"}).to_string(), 403, "is outside of the workspace's home folder"),
        ("/files/read", json!({"path": "x"}).to_string(), 404, "no such file or folder"),
        ("/files/list", json!({"path": "a"}).to_string(), 409, "is a file, not a folder"),
        ("/files/write", json!({"path": "b", "content": large}).to_string(), 413, "the request is too large"),
    ];
    for (route, request, status, message) in rows {
        let (actual, answer) = post(&files, route, request).await;
        assert_eq!(actual.as_u16(), status, "{message}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(message), "{message}: {answer}");
    }
}
