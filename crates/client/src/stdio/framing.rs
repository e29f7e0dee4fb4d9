//! Messages on standard input: one line each (MCP, Transports, stdio), of limited length.

use std::io;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// The longest line, in bytes. A file of 16 MiB in base64 fits, which is the most that a tool takes.
pub(super) const MAX_LINE: usize = 24 << 20;

/// A line of input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InputLine {
    /// A line, without its end.
    Line(Vec<u8>),
    /// A line that is longer than the limit. It was skipped.
    TooLong,
}

/// Reads the next line that is not blank, of at most `max` bytes; `None` at the end of the input. The last line needs
/// no line feed.
pub(super) async fn next_line(input: &mut (impl AsyncBufRead + Unpin), max: usize) -> io::Result<Option<InputLine>> {
    loop {
        let mut line = Vec::new();
        let mut too_long = false;
        let mut ended = false;
        while !ended {
            let available = input.fill_buf().await?;
            if available.is_empty() {
                if line.is_empty() && !too_long {
                    return Ok(None);
                }
                break;
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
            too_long = too_long || line.len() + part.len() > max;
            if too_long {
                line = Vec::new();
            } else {
                line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            ended = end.is_some();
            input.consume(used);
        }
        if too_long {
            return Ok(Some(InputLine::TooLong));
        }
        if !line.trim_ascii().is_empty() {
            return Ok(Some(InputLine::Line(line.trim_ascii().to_vec())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::BufReader;

    async fn lines(input: &str, buffer: usize) -> Vec<InputLine> {
        let mut reader = BufReader::with_capacity(buffer, input.as_bytes());
        let mut found = Vec::new();
        while let Some(line) = next_line(&mut reader, 8).await.unwrap() {
            found.push(line);
        }
        found
    }

    #[tokio::test]
    async fn lines_are_cut_whatever_the_buffer() {
        let line = |text: &str| InputLine::Line(text.as_bytes().to_vec());
        for (input, expected) in [
            ("", vec![]),
            ("\n\r\n  \n", vec![]),
            ("a\nb\r\n", vec![line("a"), line("b")]),
            ("a\nb", vec![line("a"), line("b")]),
            ("12345678\n123456789\nx\n", vec![line("12345678"), InputLine::TooLong, line("x")]),
            ("123456789012345678901234567890", vec![InputLine::TooLong]),
        ] {
            for buffer in [1, 3, 1024] {
                assert_eq!(lines(input, buffer).await, expected, "{input:?} {buffer}");
            }
        }
    }
}
