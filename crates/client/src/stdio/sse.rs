//! Server-sent events (WHATWG HTML, 9.2): the data of each event. Other fields have no meaning here.

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EventError {
    /// An event is larger than the limit.
    #[error("an event of the server is larger than {0} bytes")]
    TooLarge(usize),
}

/// Cuts a stream of bytes into events.
pub(super) struct EventParser {
    /// The unfinished line.
    line: Vec<u8>,
    /// The data of the unfinished event, each line with a line feed.
    data: Vec<u8>,
    /// Whether the previous byte was a carriage return, whose line feed is not another end.
    after_cr: bool,
    max: usize,
}

impl EventParser {
    /// A parser of events with at most `max` bytes.
    pub(super) fn new(max: usize) -> Self {
        Self { line: Vec::new(), data: Vec::new(), after_cr: false, max }
    }

    /// Reads more of the stream, and returns the data of the events that are complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, EventError> {
        let mut events = Vec::new();
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\r' | b'\n' => events.extend(self.end_line()),
                _ => {
                    self.line.push(byte);
                    if self.line.len() + self.data.len() > self.max {
                        return Err(EventError::TooLarge(self.max));
                    }
                }
            }
        }
        Ok(events)
    }

    /// The data of the event, if this line ends one that has data.
    fn end_line(&mut self) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let mut data = std::mem::take(&mut self.data);
            data.pop();
            return (!data.is_empty()).then_some(data);
        }
        if let Some(value) = line.strip_prefix(b"data:") {
            self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            self.data.push(b'\n');
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(stream: &str, chunk: usize) -> Vec<String> {
        let mut parser = EventParser::new(64);
        let events = stream.as_bytes().chunks(chunk).flat_map(|bytes| parser.push(bytes).unwrap());
        events.map(|data| String::from_utf8(data).unwrap()).collect()
    }

    #[test]
    fn events_are_cut_whatever_the_chunks() {
        for (stream, expected) in [
            ("data: {}\n\n", vec!["{}"]),
            ("event: message\ndata: {}\nid: 7\n\ndata:x\n\n", vec!["{}", "x"]),
            ("data: a\r\ndata: b\r\n\r\ndata: c\r\r", vec!["a\nb", "c"]),
            (": a heartbeat\n\n:\n\ndata: é\n\n", vec!["é"]),
            ("data:\n\n", vec![]),
            ("data\n\nretry: 5\n\n", vec![]),
            ("data: the stream ended within\n", vec![]),
        ] {
            for chunk in [1, 2, 7, 1000] {
                assert_eq!(events(stream, chunk), expected, "{stream:?} {chunk}");
            }
        }
    }

    #[test]
    fn events_are_limited() {
        let mut parser = EventParser::new(64);
        assert_eq!(parser.push(format!("data: {}\n\n", "x".repeat(58)).as_bytes()).unwrap().len(), 1);
        assert_eq!(parser.push("x".repeat(65).as_bytes()), Err(EventError::TooLarge(64)));
        let mut parser = EventParser::new(64);
        assert!((0..20).any(|_| parser.push(b"data: 1234567\n").is_err()), "many lines of one event");
    }
}
