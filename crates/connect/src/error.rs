//! Why a configuration cannot be edited. A message names positions, never content: files have tokens in them.

/// Why a configuration cannot be edited. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The file is broken.
    #[error("it is not valid {format}: line {line}, column {column}: {problem}; correct it and run the command again")]
    Syntax {
        /// JSON or TOML.
        format: &'static str,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// The syntax that the parser expected.
        problem: String,
    },
    /// The part that has the servers is something else.
    #[error("{path} in it is not {expected}; correct it and run the command again")]
    WrongType {
        /// The names that lead to it, with dots; "the whole document" at the top.
        path: String,
        /// An object or a table.
        expected: &'static str,
    },
    /// The client's configuration has no such setting.
    #[error(
        "{client} has no setting for a client id: omit --client-id, and let the endpoint accept dynamic registration"
    )]
    ClientId {
        /// The client.
        client: &'static str,
    },
}

/// Line and column of a byte, each counted from 1.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        for (text, offset, expected) in
            [("", 0, (1, 1)), ("ab", 1, (1, 2)), ("a\nb", 2, (2, 1)), ("é\r\néx", 6, (2, 2)), ("a", 9, (1, 2))]
        {
            assert_eq!(position(text, offset), expected, "{text:?} {offset}");
        }
    }
}
