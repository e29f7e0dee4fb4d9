//! The findings as text for users, and as JSON for programs. `docs/doctor.md` documents the shape of the JSON, which only
//! grows.

use crate::{Finding, Outcome, Severity};
use jiff::Timestamp;
use serde::Serialize;
use std::fmt::{self, Write as _};

/// The version of the JSON. Another one is a break.
const VERSION: u32 = 1;

/// The result of an examination.
#[derive(Clone, Debug)]
pub struct Report {
    url: String,
    time: Timestamp,
    findings: Vec<Finding>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonReport<'a> {
    version: u32,
    url: &'a str,
    checked_at: Timestamp,
    result: &'static str,
    /// The code of the first failure.
    cause: Option<&'static str>,
    findings: Vec<JsonFinding<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonFinding<'a> {
    check: &'static str,
    subject: Option<&'a str>,
    severity: &'static str,
    code: &'static str,
    seen: &'a str,
    meaning: Option<&'static str>,
    remedy: Option<&'static str>,
    /// Of a skipped check: the failed check, or another reason.
    because: Option<&'static str>,
}

impl Report {
    /// A report about the endpoint at this URL, which must not contain secrets.
    #[must_use]
    pub fn new(url: String, time: Timestamp, findings: Vec<Finding>) -> Self {
        Self { url, time, findings }
    }

    /// The findings, in dependency order.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The first failure, which explains the others.
    #[must_use]
    pub fn cause(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.is_failure())
    }

    /// As one JSON document.
    pub fn json(&self) -> serde_json::Result<String> {
        let failed = self.cause();
        let warned = self.findings.iter().any(|finding| finding.severity() == Severity::Warning);
        serde_json::to_string_pretty(&JsonReport {
            version: VERSION,
            url: &self.url,
            checked_at: self.time,
            result: match (failed, warned) {
                (Some(_), _) => "failure",
                (None, true) => "warning",
                (None, false) => "ok",
            },
            cause: failed.and_then(Finding::code).map(crate::Code::name),
            findings: self.findings.iter().map(JsonFinding::from).collect(),
        })
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity() == severity).count()
    }
}

impl<'a> From<&'a Finding> for JsonFinding<'a> {
    fn from(finding: &'a Finding) -> Self {
        let code = finding.code();
        Self {
            check: finding.check.name(),
            subject: finding.subject.as_deref(),
            severity: finding.severity().name(),
            code: code.map_or(finding.severity().name(), crate::Code::name),
            seen: &finding.seen,
            meaning: code.map(crate::Code::meaning),
            remedy: code.map(crate::Code::remedy),
            because: match finding.outcome {
                Outcome::SkippedAfter(check) => Some(check.name()),
                Outcome::Skipped(reason) => Some(reason),
                Outcome::Ok | Outcome::Problem(_) => None,
            },
        }
    }
}

/// One line per finding; then the cause, and what to do about each problem.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.url)?;
        for finding in &self.findings {
            writeln!(f, "{}", line(finding))?;
        }
        f.write_char('\n')?;
        if let Some(cause) = self.cause() {
            writeln!(f, "The cause: {}", title(cause))?;
            explain(f, cause)?;
        }
        let cause = self.cause();
        let problems = self.findings.iter().filter(|finding| finding.code().is_some());
        let others: Vec<&Finding> = problems.filter(|finding| !cause.is_some_and(|cause| *finding == cause)).collect();
        for finding in others {
            let what = if finding.is_failure() { "Also failed" } else { "Warning" };
            writeln!(f, "{what}: {}", title(finding))?;
            explain(f, finding)?;
        }
        let [ok, warnings, failures, skipped] = [Severity::Ok, Severity::Warning, Severity::Failure, Severity::Skipped]
            .map(|severity| self.count(severity));
        writeln!(f, "{ok} ok, {warnings} warnings, {failures} failures, {skipped} skipped")
    }
}

/// The width of the column with the names of the checks.
const WIDTH: usize = 18;

fn line(finding: &Finding) -> String {
    let word = match finding.severity() {
        Severity::Failure => "FAILURE",
        other => other.name(),
    };
    let subject = finding.subject.as_ref().map(|subject| format!("{subject}: ")).unwrap_or_default();
    let text = match &finding.outcome {
        Outcome::Ok => finding.seen.clone(),
        Outcome::Problem(code) => format!("{}: {}", code.name(), finding.seen),
        Outcome::SkippedAfter(check) => format!("because {} failed", check.name()),
        Outcome::Skipped(reason) => (*reason).to_owned(),
    };
    format!("{word:<8}{:<WIDTH$}{subject}{text}", finding.check.name()).trim_end().to_owned()
}

fn title(finding: &Finding) -> String {
    let code = finding.code().map_or(finding.check.name(), crate::Code::name);
    match &finding.subject {
        Some(subject) => format!("{code} ({subject})"),
        None => code.to_owned(),
    }
}

fn explain(f: &mut fmt::Formatter<'_>, finding: &Finding) -> fmt::Result {
    let Some(code) = finding.code() else { return Ok(()) };
    writeln!(f, "  seen:   {}", finding.seen)?;
    writeln!(f, "  means:  {}", code.meaning())?;
    writeln!(f, "  remedy: {}\n", code.remedy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Check, Code};

    #[test]
    fn names_of_checks_fit_their_column() {
        assert!(Check::ALL.iter().all(|check| check.name().len() < WIDTH));
    }

    fn report(findings: Vec<Finding>) -> Report {
        Report::new("https://h/mcp".to_owned(), Timestamp::from_second(1_800_000_000).unwrap(), findings)
    }

    #[test]
    fn the_first_failure_is_the_cause() {
        let report = report(vec![
            Finding::ok(Check::Url, "https://h/mcp"),
            Finding::problem(Check::Dns, Code::DnsPrivate, "h is 10.0.0.1"),
            Finding::problem(Check::Tcp, Code::TcpRefused, "10.0.0.1:443: connection refused"),
            Finding::skipped(Check::Tls, Outcome::SkippedAfter(Check::Tcp)),
            Finding::problem(Check::Cors, Code::CorsDuplicate, "two").about("https://claude.ai"),
            Finding::skipped(Check::Token, Outcome::Skipped("no credentials")),
        ]);
        let text = report.to_string();
        let expected = "https://h/mcp\n\n\
            ok      url               https://h/mcp\n\
            warning dns               dns-private: h is 10.0.0.1\n\
            FAILURE tcp               tcp-refused: 10.0.0.1:443: connection refused\n\
            skipped tls               because tcp failed\n\
            FAILURE cors              https://claude.ai: cors-duplicate: two\n\
            skipped token             no credentials\n\n\
            The cause: tcp-refused\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(
            text.contains("Warning: dns-private\n")
                && text.contains("Also failed: cors-duplicate (https://claude.ai)\n")
        );
        assert!(text.ends_with("\n1 ok, 1 warnings, 2 failures, 2 skipped\n"), "{text}");
    }

    #[test]
    fn the_json_has_a_documented_shape() {
        let report = report(vec![
            Finding::problem(Check::Tcp, Code::TcpRefused, "refused"),
            Finding::skipped(Check::Tls, Outcome::SkippedAfter(Check::Tcp)),
        ]);
        let document: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        let expected = serde_json::json!({
            "version": 1,
            "url": "https://h/mcp",
            "checkedAt": "2027-01-15T08:00:00Z",
            "result": "failure",
            "cause": "tcp-refused",
            "findings": [
                {
                    "check": "tcp", "subject": null, "severity": "failure", "code": "tcp-refused", "seen": "refused",
                    "meaning": Code::TcpRefused.meaning(), "remedy": Code::TcpRefused.remedy(), "because": null,
                },
                {
                    "check": "tls", "subject": null, "severity": "skipped", "code": "skipped", "seen": "",
                    "meaning": null, "remedy": null, "because": "tcp",
                },
            ],
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn a_result_without_failures_has_no_cause() {
        for (findings, result) in [
            (vec![Finding::ok(Check::Url, "u")], "ok"),
            (vec![Finding::problem(Check::Dns, Code::DnsPrivate, "p")], "warning"),
        ] {
            let report = report(findings);
            let document: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
            assert_eq!((&document["result"], &document["cause"]), (&result.into(), &serde_json::Value::Null));
            assert!(!report.to_string().contains("The cause"));
        }
    }
}
