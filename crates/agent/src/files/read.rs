//! Reads a file, or a part of it, without loading the rest.

use crate::files::{
    fail,
    limits::{MAX_BYTES, PATIENCE, Timed, within},
    tree::{Access, Tree},
};
use crate::protocol::{Encoding, Failure, FileContent, ReadFile, USUAL_READ};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
    str,
};

/// The longest character in UTF-8, in bytes: a part that is cut between characters has at least one.
const LONGEST_CHARACTER: usize = 4;

type Source = BufReader<Timed<File>>;

/// `POST /files/read`.
pub(super) fn read(tree: &Tree, request: &ReadFile) -> Result<FileContent, Failure> {
    let max = within("max_bytes", request.max_bytes, USUAL_READ, &(1..=MAX_BYTES))?;
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let first = within("start_line", request.start_line, 1, &(1..=u64::MAX))?;
    let most_lines = within("max_lines", request.max_lines, u64::MAX, &(1..=u64::MAX))?;
    let last = request.end_line.unwrap_or(u64::MAX);
    let by_lines = request.start_line.is_some() || request.end_line.is_some();
    if last < first {
        return Err(fail::invalid(format!("end_line {last} is before start_line {first}")));
    }
    if by_lines && request.start_byte.is_some() {
        return Err(fail::invalid("start_byte cannot be combined with start_line and end_line: omit either"));
    }
    let last = last.min(first.saturating_add(most_lines - 1));
    let spot = tree.follow(&request.path, Access::Read)?;
    let (file, metadata) = spot.open()?;
    let path = spot.path;
    let failed = |error| fail::io("read", &path, &error);
    let mut source = BufReader::new(Timed { inner: file, deadline: tree.deadline(PATIENCE) });

    let part = match request.start_byte {
        Some(start) => {
            if start > 0 && start > metadata.len() {
                return Err(fail::invalid(format!("{} has {} bytes", path.display(), metadata.len())));
            }
            source.seek(SeekFrom::Start(start)).map_err(failed)?;
            bytes(&mut source, start, max).map_err(failed)?
        }
        None => match lines(&mut source, first, last, max).map_err(failed)? {
            Found::Lines(part) => part,
            Found::Ended { lines } => {
                return Err(fail::invalid(format!(
                    "{} has {lines} lines: start_line is after its end",
                    path.display()
                )));
            }
            Found::NoText { start } if by_lines => {
                return Err(fail::invalid(format!(
                    "{} is not UTF-8 text there: pass start_byte {start} instead of lines to read its bytes",
                    path.display()
                )));
            }
            Found::NoText { .. } => {
                source.seek(SeekFrom::Start(0)).map_err(failed)?;
                bytes(&mut source, 0, max).map_err(failed)?
            }
        },
    };
    let total_lines = match (part.lines, part.next_line) {
        (Some((_, last)), None) if part.next_byte.is_none() => Some(last),
        (Some(_), _) if metadata.len() <= MAX_BYTES => {
            source.seek(SeekFrom::Start(0)).map_err(failed)?;
            Some(count_lines(&mut source).map_err(failed)?)
        }
        _ => None,
    };
    let (content, encoding, mime_type) = match part.content {
        Content::Text(text) => (text, Encoding::Utf8, text_type(&path)),
        Content::Bytes(bytes) => {
            let start = if request.start_byte.unwrap_or(0) == 0 { bytes.as_slice() } else { &[] };
            (STANDARD.encode(&bytes), Encoding::Base64, bytes_type(&path, start))
        }
    };
    Ok(FileContent {
        path: tree.shown(&path),
        content,
        encoding,
        mime_type,
        size: metadata.len(),
        start_line: part.lines.map(|(first, _)| first),
        end_line: part.lines.map(|(_, last)| last),
        total_lines,
        truncated: part.next_line.is_some() || part.next_byte.is_some(),
        next_start_line: part.next_line,
        next_start_byte: part.next_byte,
    })
}

/// A part of a file.
#[derive(Default)]
struct Part {
    content: Content,
    /// Its first and last line.
    lines: Option<(u64, u64)>,
    next_line: Option<u64>,
    next_byte: Option<u64>,
}

enum Content {
    Text(String),
    Bytes(Vec<u8>),
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

/// The result of reading lines.
enum Found {
    Lines(Part),
    /// The file has fewer lines.
    Ended {
        lines: u64,
    },
    /// The lines are not UTF-8, or contain NUL characters.
    NoText {
        /// The offset of the first line, in bytes.
        start: u64,
    },
}

/// Reads the next `max` bytes at most: as text if they are UTF-8, which may be cut a few bytes earlier.
fn bytes(source: &mut Source, start: u64, max: usize) -> io::Result<Part> {
    let want = max.max(LONGEST_CHARACTER);
    let mut bytes = Vec::new();
    source.take(want as u64).read_to_end(&mut bytes)?;
    let all = bytes.len();
    let more = !source.fill_buf()?.is_empty();
    let text = text_start(&bytes, max, more || all > max).map(str::len);
    bytes.truncate(text.unwrap_or(max));
    let next_byte = (more || bytes.len() < all).then_some(start + bytes.len() as u64);
    let content = match text {
        Some(_) => Content::Text(String::from_utf8_lossy(&bytes).into_owned()),
        None => Content::Bytes(bytes),
    };
    Ok(Part { content, next_byte, ..Part::default() })
}

/// Reads the lines from `first` to `last`, as many as fit into `max` bytes. If none fits, reads the start of the first.
fn lines(source: &mut Source, first: u64, last: u64, max: usize) -> io::Result<Found> {
    let mut before = 0;
    let mut start = 0;
    while before + 1 < first {
        let skipped = skip_line(source)?;
        if skipped.bytes == 0 {
            return Ok(Found::Ended { lines: before });
        }
        start += skipped.bytes;
        before += 1;
    }
    if source.fill_buf()?.is_empty() {
        return Ok(if first == 1 { Found::Lines(Part::default()) } else { Found::Ended { lines: before } });
    }

    let mut read = Vec::new();
    let mut whole = 0_u64; // the number of lines read to their end, or to the end of the file
    let mut border = 0; // the offset after the last of these lines
    let mut at_end = false;
    while first + whole <= last {
        let room = max.max(LONGEST_CHARACTER) - read.len();
        let count = source.take(room as u64).read_until(b'\n', &mut read)?;
        at_end = source.fill_buf()?.is_empty();
        if count == 0 || read.len() > max || !(at_end || read.last() == Some(&b'\n')) {
            break;
        }
        whole += 1;
        border = read.len();
        if at_end {
            break;
        }
    }
    if whole == 0 {
        // Not even one line fits.
        return Ok(text_start(&read, max, true).map_or(Found::NoText { start }, |text| {
            let next_byte = (!at_end || text.len() < read.len()).then_some(start + text.len() as u64);
            Found::Lines(Part {
                content: Content::Text(text.to_owned()),
                lines: Some((first, first)),
                next_byte,
                ..Part::default()
            })
        }));
    }
    let goes_on = border < read.len() || !at_end;
    read.truncate(border);
    let text = String::from_utf8(read).ok().filter(|text| !text.contains('\0'));
    Ok(text.map_or(Found::NoText { start }, |text| {
        Found::Lines(Part {
            content: Content::Text(text),
            lines: Some((first, first + whole - 1)),
            next_line: goes_on.then_some(first + whole),
            next_byte: None,
        })
    }))
}

fn count_lines(source: &mut Source) -> io::Result<u64> {
    let mut lines = 0;
    while skip_line(source)?.bytes > 0 {
        lines += 1;
    }
    Ok(lines)
}

struct Skipped {
    bytes: u64,
}

/// Skips one line of any length, without keeping it in memory.
fn skip_line(source: &mut Source) -> io::Result<Skipped> {
    let mut bytes = 0;
    loop {
        let buffer = source.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let count = end.map_or(buffer.len(), |end| end + 1);
        source.consume(count);
        bytes += count as u64;
        if end.is_some() || count == 0 {
            return Ok(Skipped { bytes });
        }
    }
}

/// The text in the first `max` bytes, but at least one character; `None` if the bytes are not text. `cut`: whether the
/// file continues after the bytes, so that their last character may be incomplete.
fn text_start(bytes: &[u8], max: usize, cut: bool) -> Option<&str> {
    let valid = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if cut && error.error_len().is_none() => str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?,
        Err(error) if error.valid_up_to() >= max => str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?,
        Err(_) => return None,
    };
    let length = if valid.len() <= max {
        valid.len()
    } else {
        valid.floor_char_boundary(max).max(valid.chars().next().map_or(0, char::len_utf8))
    };
    let text = valid.get(..length)?;
    (!text.contains('\0') && (!text.is_empty() || bytes.is_empty())).then_some(text)
}

/// The media type of text, from the file name.
fn text_type(path: &Path) -> String {
    let textual = |mime: &mime_guess::Mime| {
        mime.type_() == "text"
            || mime.suffix().is_some_and(|suffix| suffix == "xml" || suffix == "json")
            || ["json", "xml", "javascript"].contains(&mime.subtype().as_str())
    };
    // Some extensions have several types: `.ts` is also a video format.
    let guesses = mime_guess::from_path(path);
    guesses.iter().find(textual).map_or_else(|| "text/plain".to_owned(), |mime| mime.essence_str().to_owned())
}

/// The media type of other content, from its first bytes, or else from the file name.
fn bytes_type(path: &Path, bytes: &[u8]) -> String {
    match infer::get(bytes) {
        Some(kind) => kind.mime_type().to_owned(),
        None => mime_guess::from_path(path).first_or_octet_stream().essence_str().to_owned(),
    }
}
