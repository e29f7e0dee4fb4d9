//! The result of one check.

use crate::{Check, Code};

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// As it should be.
    Ok,
    /// It works, but not for every client, or not for long.
    Warning,
    /// Clients cannot work.
    Failure,
    /// Not checked.
    Skipped,
}

impl Severity {
    /// Its stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
            Self::Skipped => "skipped",
        }
    }
}

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// A problem with a documented meaning and remedy.
    Problem(Code),
    /// Not checked, because this check failed.
    SkippedAfter(Check),
    /// Not checked, for another reason.
    Skipped(&'static str),
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check.
    pub check: Check,
    /// The subject, such as an origin, if a check has several findings.
    pub subject: Option<String>,
    /// The outcome.
    pub outcome: Outcome,
    /// The observation. It never contains a secret.
    pub seen: String,
}

impl Finding {
    pub(crate) fn ok(check: Check, seen: impl Into<String>) -> Self {
        Self { check, subject: None, outcome: Outcome::Ok, seen: seen.into() }
    }

    pub(crate) fn problem(check: Check, code: Code, seen: impl Into<String>) -> Self {
        Self { check, subject: None, outcome: Outcome::Problem(code), seen: seen.into() }
    }

    pub(crate) fn skipped(check: Check, outcome: Outcome) -> Self {
        Self { check, subject: None, outcome, seen: String::new() }
    }

    pub(crate) fn about(self, subject: &str) -> Self {
        Self { subject: Some(subject.to_owned()), ..self }
    }

    /// The severity.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self.outcome {
            Outcome::Ok => Severity::Ok,
            Outcome::Problem(code) => code.severity(),
            Outcome::SkippedAfter(_) | Outcome::Skipped(_) => Severity::Skipped,
        }
    }

    /// The code of its problem.
    #[must_use]
    pub const fn code(&self) -> Option<Code> {
        match self.outcome {
            Outcome::Problem(code) => Some(code),
            _ => None,
        }
    }

    /// Whether the finding is a failure.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        matches!(self.severity(), Severity::Failure)
    }
}
