//! The words of a query.

use portcullis_workspaces::Error;
use std::collections::BTreeSet;

/// The maximum length of a query, in bytes, so that its pattern is not too long.
const LONGEST_QUERY: usize = 400;
/// The maximum number of words of a query; further ones are ignored.
const MAX_WORDS: usize = 12;

/// The words of a query, in lower case.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words(Vec<String>);

impl Words {
    pub(super) fn of(query: &str) -> Result<Self, Error> {
        if query.len() > LONGEST_QUERY {
            let problem = format!("it has {} bytes; it may have at most {LONGEST_QUERY}", query.len());
            return Err(Error::InvalidArgument { argument: "query", problem });
        }
        let mut words: Vec<String> = Vec::new();
        for word in query.split(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '.')) {
            let word = word.trim_matches(['-', '.']).to_lowercase();
            if !word.is_empty() && !words.contains(&word) && words.len() < MAX_WORDS {
                words.push(word);
            }
        }
        if words.is_empty() {
            let problem = "it has no words; write a few keywords, such as the name of a file".to_owned();
            return Err(Error::InvalidArgument { argument: "query", problem });
        }
        Ok(Self(words))
    }

    /// The indexes of the words that a text contains.
    pub(super) fn positions(&self, text: &str) -> impl Iterator<Item = usize> {
        let text = text.to_lowercase();
        self.0.iter().enumerate().filter(move |(_, word)| text.contains(word.as_str())).map(|(place, _)| place)
    }

    /// The number of words that any of the texts contains.
    pub(super) fn score<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> usize {
        texts.into_iter().flat_map(|text| self.positions(text)).collect::<BTreeSet<_>>().len()
    }

    /// A regular expression for lines that contain any of the words.
    pub(super) fn pattern(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|word| regex::escape(word)).collect();
        format!("(?i){}", words.join("|"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_taken_as_words() {
        for (query, words) in [
            ("Retry policy", &["retry", "policy"][..]),
            ("  where is src/main.rs?", &["where", "is", "src", "main.rs"]),
            ("a a A", &["a"]),
            ("Größe: --flag", &["größe", "flag"]),
        ] {
            assert_eq!(Words::of(query).unwrap().0, words, "{query}");
        }
        for empty in ["", " ?!", "-"] {
            assert!(Words::of(empty).unwrap_err().to_string().contains("no word"), "{empty:?}");
        }
        let words = Words::of("retry main.rs").unwrap();
        assert_eq!(words.score(["src/Main.rs", "mainXrs"]), 1);
        assert_eq!(words.score(["src/main.rs", "Retry, retry"]), 2);
        assert_eq!(words.pattern(), r"(?i)retry|main\.rs");
    }
}
