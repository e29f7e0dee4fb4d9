//! What is wrong with manifests: one problem each, with file, line, document and field.

use serde::Serialize;
use std::fmt;

/// One thing that is wrong with the manifests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ManifestProblem {
    /// The file, or `standard input`.
    pub file: String,
    /// The line in the file, if the document could be read as YAML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Which of the file's documents, from 1; absent if the file could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<usize>,
    /// The path of the field, such as `spec.url` or, in a list, `items[0].spec.url`; empty: the document as a whole.
    pub field: String,
    /// What is wrong and what to do, as the end of a sentence that begins with the field.
    pub message: String,
}

impl ManifestProblem {
    /// A problem of a file or folder as a whole.
    pub(super) fn of_file(file: &str, message: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), line: None, document: None, field: String::new(), message: message.to_string() }
    }

    /// The problem on one line, with the document even where the line is known.
    #[must_use]
    pub fn in_full(&self) -> String {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        let document = self.document.map(|document| format!("document {document}: ")).unwrap_or_default();
        format!("{}{line}: {document}{}", self.file, self.what())
    }

    fn what(&self) -> String {
        if self.field.is_empty() { self.message.clone() } else { format!("{}: {}", self.field, self.message) }
    }
}

impl fmt::Display for ManifestProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        match (self.line, self.document) {
            (Some(line), _) => write!(f, ":{line}")?,
            (None, Some(document)) => write!(f, ", document {document}")?,
            (None, None) => {}
        }
        write!(f, ": {}", self.what())
    }
}

/// Why manifests cannot be used: everything that was found wrong, each on a line of its own.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ManifestErrors(pub(super) Vec<ManifestProblem>);

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ManifestErrors {}

/// The result of [`validate`](super::validate).
#[derive(Debug)]
pub struct Validation {
    /// How many objects are valid.
    pub objects: usize,
    /// How many documents were not checked, since they are of other kinds.
    pub skipped: usize,
    /// Everything that is wrong.
    pub problems: Vec<ManifestProblem>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_with_its_position() {
        let mut problem = ManifestProblem {
            file: "a.yaml".to_owned(),
            line: Some(7),
            document: Some(2),
            field: "spec.url".to_owned(),
            message: "must begin with https://".to_owned(),
        };
        assert_eq!(problem.to_string(), "a.yaml:7: spec.url: must begin with https://");
        assert_eq!(problem.in_full(), "a.yaml:7: document 2: spec.url: must begin with https://");
        (problem.line, problem.field) = (None, String::new());
        assert_eq!(problem.to_string(), "a.yaml, document 2: must begin with https://");
        assert_eq!(problem.in_full(), "a.yaml: document 2: must begin with https://");
        let file = ManifestProblem::of_file("b", "cannot be read");
        assert_eq!(
            (file.to_string(), file.in_full()),
            ("b: cannot be read".to_owned(), "b: cannot be read".to_owned())
        );
    }
}
