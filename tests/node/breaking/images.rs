//! Images that bring less than others.

use super::scene::{Said, Scene};
use serde_json::json;

/// A Go program is all that there is.
pub async fn without_a_shell(scene: &Scene<'_>) -> Said {
    let said = scene.command("/static 'hello from' nowhere", 10).await;
    let missing = scene.command("ls -l", 10).await.text;
    let syntax = scene.command("/static a | /static b", 10).await.text;
    said.and(&missing).and(&syntax).and(&files_work(scene).await)
}

/// Its number is in no list of users.
pub async fn as_nobody(scene: &Scene<'_>) -> Said {
    let said = scene.command("echo $(id -u) $USER $HOME; whoami; cd ~ && touch mine", 10).await;
    said.and(&files_work(scene).await)
}

async fn files_work(scene: &Scene<'_>) -> String {
    let written = scene.call("write_file", json!({"path": "a/b.txt", "content": "kept"})).await;
    let read = scene.call("read_file", json!({"path": "a/b.txt"})).await;
    match (written, read) {
        (Ok(_), Ok(read)) if read["content"] == "kept" => "a file was written and read".to_owned(),
        other => format!("{other:?}"),
    }
}
