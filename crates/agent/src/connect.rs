//! The end of a tunnel in the workspace: copies bytes between standard input and output and the socket of the workspace
//! agent.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, copy_buf},
    net::{UnixStream, unix::pipe},
    time::{Instant, sleep},
};

/// The time to wait for a socket that does not exist yet.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The interval between connection attempts.
const TRY: Duration = Duration::from_millis(20);
/// The size of the copy buffers, in bytes: the capacity of a pipe.
const BUFFER: usize = 64 * 1024;

/// Copies bytes in both directions until either side closes.
pub async fn connect(socket: &Path) -> io::Result<()> {
    let mut agent = open(socket).await?;
    let (from_agent, mut to_agent) = agent.split();
    let (input, mut output) = (reader(&io::stdin())?, writer(&io::stdout())?);
    let (mut input, mut from_agent) =
        (BufReader::with_capacity(BUFFER, input), BufReader::with_capacity(BUFFER, from_agent));
    tokio::select! {
        copied = copy_buf(&mut input, &mut to_agent) => copied?,
        copied = copy_buf(&mut from_agent, &mut output) => copied?,
    };
    output.flush().await
}

async fn open(socket: &Path) -> io::Result<UnixStream> {
    let until = Instant::now() + CONNECT_TIMEOUT;
    loop {
        match UnixStream::connect(socket).await {
            // The workspace agent is starting or restarting.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
                    && Instant::now() < until =>
            {
                sleep(TRY).await;
            }
            result => return result,
        }
    }
}

/// A pipe is read without another thread, which saves two context switches for each message; other files need a thread.
fn reader(from: &impl AsFd) -> io::Result<Box<dyn AsyncRead + Unpin>> {
    let own: OwnedFd = from.as_fd().try_clone_to_owned()?;
    if let Ok(pipe) = pipe::Receiver::from_owned_fd(own.try_clone()?) {
        return Ok(Box::new(pipe));
    }
    Ok(Box::new(tokio::fs::File::from_std(File::from(own))))
}

/// Like [`reader`], for writing.
fn writer(to: &impl AsFd) -> io::Result<Box<dyn AsyncWrite + Unpin>> {
    let own: OwnedFd = to.as_fd().try_clone_to_owned()?;
    if let Ok(pipe) = pipe::Sender::from_owned_fd(own.try_clone()?) {
        return Ok(Box::new(pipe));
    }
    Ok(Box::new(tokio::fs::File::from_std(File::from(own))))
}
