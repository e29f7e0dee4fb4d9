//! One output pipe of a command, and the destinations of its output.

use crate::{
    capture::{Capture, Captured},
    record::Record,
    text::Decoder,
};
use std::{io, os::fd::AsFd as _, sync::Arc};
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
};

/// Receives output while the command runs. Must not block.
pub type Live = Arc<dyn Fn(&str) + Send + Sync>;

/// The destinations of live output.
#[derive(Clone, Default)]
pub struct Sinks {
    /// The follower of the command.
    pub live: Option<Live>,
    /// The recent output.
    pub record: Arc<Record>,
    /// Whether to copy the output to this process's own standard output and standard error.
    pub echo: bool,
}

/// Which of the two pipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Stdout,
    Stderr,
}

/// A pipe and its captured output.
pub(super) struct Stream<R> {
    which: Which,
    pipe: Option<R>,
    buffer: Vec<u8>,
    capture: Capture,
    decoder: Decoder,
}

impl<R: AsyncRead + Unpin> Stream<R> {
    pub(crate) fn new(which: Which, pipe: Option<R>, capture: Capture) -> Self {
        Self { which, pipe, buffer: vec![0; 16 * 1024], capture, decoder: Decoder::default() }
    }

    /// Reads into the buffer. Returns the number of bytes; 0 at the end, then never completes again. Cancel-safe.
    pub(crate) async fn read(&mut self) -> usize {
        match &mut self.pipe {
            // An error on a pipe means the same as its end.
            Some(pipe) => pipe.read(&mut self.buffer).await.unwrap_or(0),
            None => std::future::pending().await,
        }
    }

    /// Distributes the bytes that [`Self::read`] has read.
    pub(crate) async fn take(&mut self, count: usize, sinks: &Sinks) {
        let Some(bytes) = self.buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            self.pipe = None;
            self.buffer = Vec::new();
            return;
        };
        sinks.record.push(bytes);
        if let Some(live) = &sinks.live {
            live(&self.decoder.decode(bytes));
        }
        if sinks.echo {
            // An error of this process's own output must not end the command.
            let _ = self.which.echo(bytes).await;
        }
        self.capture.push(bytes).await;
    }

    /// Writes the output to the file from now on, including the output so far.
    pub(crate) async fn keep(&mut self) {
        self.capture.keep().await;
    }

    pub(crate) async fn snapshot(&mut self) -> Captured {
        self.capture.snapshot().await
    }

    pub(crate) async fn flush(&mut self) {
        self.capture.flush().await;
    }

    pub(crate) fn has_file(&self) -> bool {
        self.capture.has_file()
    }

    pub(crate) fn at_end(&self) -> bool {
        self.pipe.is_none()
    }
}

impl Which {
    /// Writes to this process's own stream of the same name.
    async fn echo(self, bytes: &[u8]) -> io::Result<()> {
        let own = match self {
            Self::Stdout => io::stdout().as_fd().try_clone_to_owned()?,
            Self::Stderr => io::stderr().as_fd().try_clone_to_owned()?,
        };
        let mut own = File::from_std(own.into());
        own.write_all(bytes).await?;
        own.flush().await
    }
}
