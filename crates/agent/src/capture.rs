//! One output stream of a command: its beginning and end in memory, and all of it in a file if memory is not enough.

use crate::text::{from_whole_line, without_cut_end, without_cut_line, without_cut_start};
use std::{
    collections::VecDeque,
    fmt::Write as _,
    path::{Path, PathBuf},
};
use tokio::{fs::File, io::AsyncWriteExt as _};

/// The size of the beginning that is shown, in bytes.
const HEAD: usize = 8 * 1024;
/// The size of the end that is shown, in bytes.
const TAIL: usize = 16 * 1024;
/// The size limit of a file, in bytes.
pub(super) const FILE_LIMIT: u64 = 64 * 1024 * 1024;

/// Captures an output stream.
pub(super) struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
    path: PathBuf,
    file: FileState,
}

enum FileState {
    /// All output is in memory so far.
    NotNeeded,
    Open {
        file: File,
        written: u64,
    },
    Failed(String),
}

/// The captured output, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// The whole output, or its beginning and end with a line between them that says so. Invalid UTF-8 is replaced.
    pub text: String,
    /// Whether `text` is incomplete.
    pub truncated: bool,
    /// Where the whole output is kept.
    pub kept: Kept,
}

/// Where the whole output of a stream is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Only in the text.
    InText,
    /// In a file; `complete` is false if the file reached its size limit.
    InFile {
        /// The file.
        path: PathBuf,
        /// Whether the file has every byte.
        complete: bool,
    },
    /// The file could not be written; this is the reason.
    Lost(String),
}

impl Capture {
    /// Writes the output to a file at `path` once it exceeds the memory.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { head: Vec::new(), tail: VecDeque::new(), total: 0, path, file: FileState::NotNeeded }
    }

    /// Writes the output to a file from the first byte on.
    pub(crate) async fn with_file(path: PathBuf) -> Self {
        let mut capture = Self::new(path);
        capture.open().await;
        capture
    }

    /// Writes the output to the file from now on, including the output so far.
    pub(crate) async fn keep(&mut self) {
        if matches!(self.file, FileState::NotNeeded) {
            self.open().await;
        }
    }

    /// Appends output. Never fails: an error of the file is reported as [`Kept::Lost`].
    pub(crate) async fn push(&mut self, bytes: &[u8]) {
        let overflows = self.head.len() + self.tail.len() + bytes.len() > HEAD + TAIL;
        if overflows && matches!(self.file, FileState::NotNeeded) {
            self.open().await;
        }
        self.write(bytes).await;
        self.total += bytes.len() as u64;

        let (for_head, rest) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
        self.head.extend_from_slice(for_head);
        let rest = rest.split_at(rest.len().saturating_sub(TAIL)).1;
        let excess = (self.tail.len() + rest.len()).saturating_sub(TAIL);
        self.tail.drain(..excess);
        self.tail.extend(rest);
    }

    /// The output so far. On return, the file is flushed.
    pub(crate) async fn snapshot(&mut self) -> Captured {
        self.flush().await;
        let truncated = self.total > (self.head.len() + self.tail.len()) as u64;
        let kept = match &self.file {
            FileState::NotNeeded => Kept::InText,
            FileState::Open { written, .. } => {
                Kept::InFile { path: self.path.clone(), complete: *written == self.total }
            }
            FileState::Failed(why) => Kept::Lost(why.clone()),
        };
        let tail = self.tail.make_contiguous();
        let text = if truncated {
            let (head, tail) =
                (without_cut_line(without_cut_end(&self.head)), from_whole_line(without_cut_start(tail)));
            let left_out = self.total - (head.len() + tail.len()) as u64;
            let mut text = String::from_utf8_lossy(head).into_owned();
            let line_end = if text.ends_with('\n') { "" } else { "\n" };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{line_end}[… {left_out} bytes omitted …]");
            text.push_str(&String::from_utf8_lossy(tail));
            text
        } else {
            let mut all = self.head.clone();
            all.extend_from_slice(tail);
            String::from_utf8(all).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
        };
        Captured { text, truncated, kept }
    }

    /// Waits until the file, if there is one, has every byte so far: tokio writes it in the background.
    pub(crate) async fn flush(&mut self) {
        if let FileState::Open { file, .. } = &mut self.file
            && let Err(error) = file.flush().await
        {
            self.file = FileState::Failed(error.to_string());
        }
    }

    /// Whether the output is written to a file, or should have been.
    pub(crate) fn has_file(&self) -> bool {
        !matches!(self.file, FileState::NotNeeded)
    }

    /// Opens the file and writes the output in memory.
    async fn open(&mut self) {
        self.file = match create(&self.path).await {
            Ok(file) => FileState::Open { file, written: 0 },
            Err(error) => FileState::Failed(error.to_string()),
        };
        let mut so_far = std::mem::take(&mut self.head);
        so_far.extend(&self.tail);
        self.write(&so_far).await;
        so_far.truncate(so_far.len() - self.tail.len());
        self.head = so_far;
    }

    async fn write(&mut self, bytes: &[u8]) {
        let FileState::Open { file, written } = &mut self.file else { return };
        let room = usize::try_from(FILE_LIMIT - *written).unwrap_or(usize::MAX);
        let bytes = bytes.split_at(bytes.len().min(room)).0;
        if bytes.is_empty() {
            return;
        }
        match file.write_all(bytes).await {
            Ok(()) => *written += bytes.len() as u64,
            Err(error) => self.file = FileState::Failed(error.to_string()),
        }
    }
}

async fn create(path: &Path) -> std::io::Result<File> {
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn captured(chunks: &[&[u8]]) -> (Captured, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let mut capture = Capture::new(folder.path().join("output/1.stdout"));
        for chunk in chunks {
            capture.push(chunk).await;
        }
        (capture.snapshot().await, folder)
    }

    #[tokio::test]
    async fn short_output_stays_in_memory() {
        let (result, folder) = captured(&[b"hello ", b"", b"world\xff"]).await;
        assert_eq!(result, Captured { text: "hello world\u{fffd}".to_owned(), truncated: false, kept: Kept::InText });
        assert!(!folder.path().join("output").exists());
    }

    #[tokio::test]
    async fn exactly_full_is_not_truncated() {
        let (result, _folder) = captured(&[&[b'a'; HEAD], &[b'b'; TAIL]]).await;
        assert_eq!(result.text.len(), HEAD + TAIL);
        assert!(!result.truncated);
        assert_eq!(result.kept, Kept::InText);
    }

    #[tokio::test]
    async fn long_output_keeps_both_ends_and_the_file_has_all() {
        for chunk in [1_usize, 7, 1000, HEAD, HEAD + TAIL + 1, 100_000] {
            let all: Vec<u8> = (0..100_000_u32).map(|index| b'a' + u8::try_from(index % 26).unwrap()).collect();
            let chunks: Vec<&[u8]> = all.chunks(chunk).collect();
            let (result, folder) = captured(&chunks).await;
            assert!(result.truncated, "{chunk}");
            let text = result.text.as_bytes();
            assert_eq!(&text[..HEAD], &all[..HEAD], "{chunk}");
            assert_eq!(&text[text.len() - TAIL..], &all[all.len() - TAIL..], "{chunk}");
            assert!(result.text.contains("75424 bytes omitted"), "{chunk}");
            let path = folder.path().join("output/1.stdout");
            assert_eq!(std::fs::read(&path).unwrap(), all, "{chunk}");
            assert_eq!(result.kept, Kept::InFile { path, complete: true }, "{chunk}");
        }
    }

    #[tokio::test]
    async fn a_cut_falls_between_lines() {
        let all: String =
            (0..10_000).flat_map(|number| ["line ".to_owned(), number.to_string(), "\n".to_owned()]).collect();
        let (result, _folder) = captured(&[all.as_bytes()]).await;
        let (head, tail) = result.text.split_once("[… ").unwrap();
        let (left_out, tail) = tail.split_once(" bytes omitted …]\n").unwrap();
        assert!(all.starts_with(head) && head.ends_with('\n') && all.ends_with(tail) && tail.starts_with("line "));
        assert_eq!(left_out.parse::<usize>().unwrap(), all.len() - head.len() - tail.len());
    }

    #[tokio::test]
    async fn output_is_kept_from_the_moment_that_it_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output/1.stdout");
        let mut capture = Capture::new(path.clone());
        capture.push(b"before ").await;
        capture.keep().await;
        capture.push(b"after").await;
        let result = capture.snapshot().await;
        assert_eq!((result.text.as_str(), result.truncated), ("before after", false));
        assert_eq!(result.kept, Kept::InFile { path: path.clone(), complete: true });
        assert_eq!(std::fs::read(path).unwrap(), b"before after");
    }

    #[tokio::test]
    async fn a_cut_never_splits_a_character() {
        let text = "é".repeat(40_000);
        let odd = format!("x{text}");
        for all in [text, odd] {
            let (result, _folder) = captured(&[all.as_bytes()]).await;
            assert!(result.truncated && !result.text.contains('\u{fffd}'));
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_made_is_said_to_be_lost() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("output"), "in the way").unwrap();
        let mut capture = Capture::new(folder.path().join("output/1.stdout"));
        capture.push(&vec![b'a'; HEAD + TAIL + 1]).await;
        let result = capture.snapshot().await;
        assert!(result.truncated && matches!(result.kept, Kept::Lost(_)));
    }
}
