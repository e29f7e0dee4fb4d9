//! Examinations, and what they must find.

use portcullis_core::clock::SystemClock;
use portcullis_doctor::{Code, Credentials, Finding, Report, Target, examine};

/// The origin whose pages must be allowed in these tests.
pub const ORIGIN: &str = "https://app.example.com";

/// An examination with credentials.
pub fn target(url: &str, secret: &str) -> Target {
    Target {
        credentials: Some(Credentials { client_id: "agent".to_owned(), client_secret: secret.to_owned() }),
        origins: vec![ORIGIN.parse().unwrap()],
        ..without_credentials(url)
    }
}

/// An examination without credentials.
pub fn without_credentials(url: &str) -> Target {
    Target { url: url.to_owned(), ..Target::default() }
}

/// Examines, and checks that no secret is printed.
pub async fn report(target: &Target) -> Report {
    let report = examine(target, &SystemClock).await.unwrap();
    if let Some(credentials) = &target.credentials {
        for text in [report.to_string(), report.json().unwrap(), format!("{report:?}")] {
            assert!(!text.contains(&credentials.client_secret), "{text}");
        }
    }
    report
}

/// The code of the first failure.
pub fn cause(report: &Report) -> Option<Code> {
    report.cause().and_then(Finding::code)
}

/// Examines, and expects this cause.
pub async fn expect_cause(target: &Target, code: Code) {
    let report = report(target).await;
    assert_eq!(cause(&report), Some(code), "{report}");
}
