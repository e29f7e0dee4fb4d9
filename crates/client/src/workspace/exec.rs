//! `exec`: runs a command in a workspace, and passes its output and exit code on.
//!
//! The command runs as a background process, so that it may take long. The process's output tells when there is more;
//! the bytes themselves come from the files of the two streams, since these keep them apart and unchanged.

use super::{
    rest::{RestClient, WorkspaceError},
    wire::{Encoding, Execute, FileContent, Input, Progress, Started},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use serde::de::IgnoredAny;
use std::io;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

/// The time that one request waits for output, in seconds. It is below the time limit of requests that proxies have.
pub(super) const WAIT_SECONDS: u32 = 20;
/// The size of a part of an output file.
const PART: usize = 1 << 20;
/// The size of a part of the input.
const INPUT_PART: usize = 64 << 10;
/// The exit code for an interrupted command, as shells have it.
const INTERRUPTED: i32 = 130;
/// The exit code if the command's own is not known.
const UNKNOWN: i32 = 255;

/// A command to run.
#[derive(Clone, Debug)]
pub struct ExecRequest {
    /// The name or id of the workspace.
    pub workspace: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The folder to run it in.
    pub cwd: Option<String>,
}

/// The standard streams of this process.
pub struct Streams<I, O, E> {
    /// The input, if the command gets it.
    pub input: Option<I>,
    /// The output.
    pub output: O,
    /// The error output.
    pub errors: E,
}

/// Runs a command, and returns its exit code. `interrupt` ends the command.
pub async fn exec<I, O, E>(
    rest: &RestClient,
    request: &ExecRequest,
    streams: Streams<I, O, E>,
    interrupt: CancellationToken,
) -> Result<u8, WorkspaceError>
where
    I: AsyncRead + Unpin,
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    let words = request.command.iter().map(String::as_str);
    let command = shlex::try_join(words).map_err(|_| WorkspaceError::Nul)?;
    let body = Execute { command: &command, cwd: request.cwd.as_deref(), background: true };
    let path = ["workspaces", &request.workspace, "execute"];
    let started: Started = rest.send_json(Method::POST, &path, &body).await?;
    let process = RemoteProcess { rest, workspace: &request.workspace, id: started.process_id.to_string() };

    let Streams { input, mut output, mut errors } = streams;
    let ended = Notify::new();
    let feeding = process.feed(input, &ended);
    let following = async {
        let followed = process.follow(&started, &mut output, &mut errors).await;
        ended.notify_one();
        followed
    };
    tokio::select! {
        done = async { tokio::try_join!(following, feeding) } => Ok(exit_code(done?.0)),
        () = interrupt.cancelled() => {
            process.stop().await?;
            Ok(exit_code(Some(INTERRUPTED)))
        }
    }
}

/// A process in the workspace.
struct RemoteProcess<'a> {
    rest: &'a RestClient,
    workspace: &'a str,
    id: String,
}

impl RemoteProcess<'_> {
    /// Passes the input on as it comes, until it ends or the process does.
    async fn feed(&self, input: Option<impl AsyncRead + Unpin>, ended: &Notify) -> Result<(), WorkspaceError> {
        if let Some(mut input) = input {
            let mut text = TextParts::default();
            let mut buffer = vec![0; INPUT_PART];
            loop {
                let read = tokio::select! {
                    read = input.read(&mut buffer) => read,
                    () = ended.notified() => return Ok(()),
                };
                let count = read.map_err(|error| file("read", "standard input", error))?;
                if count == 0 {
                    break;
                }
                let part = text.push(buffer.get(..count).unwrap_or_default())?;
                if !part.is_empty() && !self.input(&part, false).await? {
                    return Ok(());
                }
            }
            text.end()?;
        }
        self.input("", true).await.map(|_| ())
    }

    /// Writes to the standard input of the process. `false` if the process takes no more.
    async fn input(&self, text: &str, close: bool) -> Result<bool, WorkspaceError> {
        let path = ["workspaces", self.workspace, "processes", &self.id, "input"];
        match self.rest.send_json::<IgnoredAny>(Method::POST, &path, &Input { text, close }).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes the output until the process has ended. Returns its exit code.
    async fn follow(
        &self,
        started: &Started,
        output: &mut (impl AsyncWrite + Unpin),
        errors: &mut (impl AsyncWrite + Unpin),
    ) -> Result<Option<i32>, WorkspaceError> {
        let (mut out, mut err, mut offset) = (0, 0, 0_u64);
        loop {
            let path = ["workspaces", self.workspace, "processes", &self.id, "output"];
            let (from, wait) = (offset.to_string(), WAIT_SECONDS.to_string());
            let progress: Progress = self.rest.get(&path, &[("offset", &from), ("wait_seconds", &wait)]).await?;
            let more = progress.next_offset != offset;
            offset = progress.next_offset;
            if more || !progress.running {
                out = self.copy(&started.stdout_file, out, output, "standard output").await?;
                err = self.copy(&started.stderr_file, err, errors, "standard error").await?;
            }
            if !progress.running && !progress.truncated {
                return Ok(progress.exit_code);
            }
        }
    }

    /// Writes the rest of a file of output, from the byte `from`. Returns the position after it.
    async fn copy(
        &self,
        path: &str,
        mut from: u64,
        to: &mut (impl AsyncWrite + Unpin),
        name: &'static str,
    ) -> Result<u64, WorkspaceError> {
        loop {
            let bytes = read_part(self.rest, self.workspace, path, from).await?;
            from += bytes.0.len() as u64;
            to.write_all(&bytes.0).await.map_err(|error| file("written", name, error))?;
            if bytes.0.is_empty() || from >= bytes.1 {
                to.flush().await.map_err(|error| file("written", name, error))?;
                return Ok(from);
            }
        }
    }

    async fn stop(&self) -> Result<(), WorkspaceError> {
        self.rest.delete(&["workspaces", self.workspace, "processes", &self.id]).await
    }
}

/// Reads a part of a file in a workspace. Returns the bytes, and the size of the file.
pub(super) async fn read_part(
    rest: &RestClient,
    workspace: &str,
    path: &str,
    from: u64,
) -> Result<(Vec<u8>, u64), WorkspaceError> {
    let (start, max) = (from.to_string(), PART.to_string());
    let query = [("path", path), ("start_byte", start.as_str()), ("max_bytes", max.as_str())];
    let part: FileContent = rest.get(&["workspaces", workspace, "files", "content"], &query).await?;
    let bytes = match part.encoding {
        Encoding::Utf8 => part.content.into_bytes(),
        Encoding::Base64 => STANDARD
            .decode(&part.content)
            .map_err(|_| WorkspaceError::Copy(format!("the endpoint sent a part of {path} that is not base64")))?,
    };
    Ok((bytes, part.size))
}

/// Cuts bytes into texts: a character that is not complete waits for its rest.
#[derive(Default)]
struct TextParts {
    rest: Vec<u8>,
}

impl TextParts {
    fn push(&mut self, bytes: &[u8]) -> Result<String, WorkspaceError> {
        self.rest.extend_from_slice(bytes);
        let valid = match str::from_utf8(&self.rest) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => return Err(WorkspaceError::StdinNotText),
        };
        let rest = self.rest.split_off(valid);
        let text = String::from_utf8(std::mem::replace(&mut self.rest, rest));
        text.map_err(|_| WorkspaceError::StdinNotText)
    }

    fn end(self) -> Result<(), WorkspaceError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WorkspaceError::StdinNotText) }
    }
}

/// The exit code of this process for that of the command.
fn exit_code(code: Option<i32>) -> u8 {
    u8::try_from(code.unwrap_or(UNKNOWN)).unwrap_or(u8::MAX)
}

pub(super) fn file(action: &'static str, path: impl Into<String>, source: io::Error) -> WorkspaceError {
    WorkspaceError::File { action, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        let mut parts = TextParts::default();
        assert_eq!(parts.push("aé".as_bytes().get(..2).unwrap()).unwrap(), "a");
        assert_eq!(parts.push(&"é".as_bytes()[1..]).unwrap(), "é");
        assert!(parts.push(&[0xF0, 0x9F]).unwrap().is_empty());
        assert!(matches!(parts.end(), Err(WorkspaceError::StdinNotText)));
        assert!(matches!(TextParts::default().push(&[0xFF]), Err(WorkspaceError::StdinNotText)));
    }

    #[test]
    fn exit_codes_fit() {
        for (code, expected) in
            [(Some(0), 0), (Some(3), 3), (Some(137), 137), (None, 255), (Some(300), 255), (Some(-1), 255)]
        {
            assert_eq!(exit_code(code), expected, "{code:?}");
        }
    }
}
