//! `cp`: copies a file to or from a workspace, in parts. The target is replaced when the copy is complete.

use super::{
    exec::{file, read_part},
    location::{Location, file_name, target_path},
    rest::{RestClient, WorkspaceError},
    wire::{Encoding, MovePath, WriteFile},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use serde::de::IgnoredAny;
use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};
use tokio::{
    fs::{self, File},
    io::{AsyncReadExt as _, AsyncWriteExt as _},
};

/// The size of a part. In base64 it is below the smallest usual limit on bodies.
const PART: usize = 1 << 20;
const FOLDER: &str = "is a folder, and cp copies single files; pack it with tar, copy the archive and unpack it";

/// Copies a file. Returns its size in bytes.
pub async fn copy(rest: &RestClient, from: &Location, to: &Location) -> Result<u64, WorkspaceError> {
    match (from, to) {
        (Location::Local(from), Location::Workspace { workspace, path }) => upload(rest, from, workspace, path).await,
        (Location::Workspace { workspace, path }, Location::Local(to)) => download(rest, workspace, path, to).await,
        _ => Err(WorkspaceError::Copy("one of the paths must be WORKSPACE:PATH, and the other a local one".to_owned())),
    }
}

async fn upload(rest: &RestClient, from: &Path, workspace: &str, to: &str) -> Result<u64, WorkspaceError> {
    let shown = from.display().to_string();
    let failed = |error| file("read", shown.clone(), error);
    let mut source = File::open(from).await.map_err(failed)?;
    let metadata = source.metadata().await.map_err(failed)?;
    if metadata.is_dir() {
        return Err(WorkspaceError::Copy(format!("{shown} {FOLDER}")));
    }
    let name = from.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| WorkspaceError::Copy(format!("{shown} has no file name in UTF-8")))?;
    let target = target_path(to, name);
    let unfinished = format!("{target}.portcullis-part");
    let mode = format!("{:o}", metadata.permissions().mode() & 0o777);
    let content = ["workspaces", workspace, "files", "content"];
    let mut size = 0_u64;
    let mut first = true;
    loop {
        let mut part = Vec::with_capacity(PART);
        (&mut source).take(PART as u64).read_to_end(&mut part).await.map_err(failed)?;
        if part.is_empty() && !first {
            break;
        }
        size += part.len() as u64;
        let body = WriteFile {
            path: &unfinished,
            content: STANDARD.encode(&part),
            encoding: Encoding::Base64,
            mode: first.then(|| mode.clone()),
            append: !first,
        };
        rest.send_json::<IgnoredAny>(Method::PUT, &content, &body).await?;
        first = false;
    }
    let body = MovePath { from: &unfinished, to: &target, overwrite: true };
    rest.send_json::<IgnoredAny>(Method::POST, &["workspaces", workspace, "files", "move"], &body).await?;
    Ok(size)
}

async fn download(rest: &RestClient, workspace: &str, from: &str, to: &Path) -> Result<u64, WorkspaceError> {
    let name = file_name(from).ok_or_else(|| WorkspaceError::Copy(format!("{from} {FOLDER}")))?;
    let target =
        if fs::metadata(to).await.is_ok_and(|metadata| metadata.is_dir()) { to.join(name) } else { to.to_owned() };
    let mut unfinished = target.clone().into_os_string();
    unfinished.push(".portcullis-part");
    let unfinished = PathBuf::from(unfinished);
    let copied = save(rest, workspace, from, &unfinished).await;
    let done = match copied {
        Ok(size) => fs::rename(&unfinished, &target)
            .await
            .map(|()| size)
            .map_err(|error| file("written", target.display().to_string(), error)),
        Err(error) => Err(error),
    };
    if done.is_err() {
        // An unfinished file has a separate name, and the next copy replaces it.
        let _ = fs::remove_file(&unfinished).await;
    }
    done
}

async fn save(rest: &RestClient, workspace: &str, from: &str, to: &Path) -> Result<u64, WorkspaceError> {
    let failed = |error| file("written", to.display().to_string(), error);
    let (mut part, total) = read_part(rest, workspace, from, 0).await?;
    let mut target = File::create(to).await.map_err(failed)?;
    let mut size = 0_u64;
    loop {
        target.write_all(&part).await.map_err(failed)?;
        size += part.len() as u64;
        if size >= total {
            break;
        }
        let (next, now) = read_part(rest, workspace, from, size).await?;
        if now != total || next.is_empty() {
            return Err(WorkspaceError::Copy(format!("{from} changed while it was copied; copy it again")));
        }
        part = next;
    }
    target.sync_all().await.map_err(failed)?;
    Ok(size)
}
