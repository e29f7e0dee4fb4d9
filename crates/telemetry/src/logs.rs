//! Logs on standard error, with `tracing`.

use clap::ValueEnum;
use std::io::{IsTerminal as _, stderr};
use tracing_subscriber::EnvFilter;

/// The filter if `RUST_LOG` is empty or not set.
pub const DEFAULT_FILTER: &str = "info";
/// The directive that is always added to `RUST_LOG`. rmcp logs entire messages from `debug` on, and parts of them at
/// `warn`. The requests of agents, and credentials that a client put in the wrong field, must not be logged.
const ALWAYS: &str = "rmcp=error";

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line, for collectors.
    Json,
}

/// Logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `RUST_LOG` cannot be parsed.
    #[error("RUST_LOG is invalid; for example RUST_LOG=info,portcullis=debug")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Logs were set up before.
    #[error("logging is already initialized")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// The filter for directives in the syntax of `RUST_LOG`.
pub fn filter(directives: &str) -> Result<EnvFilter, LogError> {
    let directives = if directives.is_empty() { DEFAULT_FILTER } else { directives };
    Ok(EnvFilter::try_new(format!("{directives},{ALWAYS}"))?)
}

/// Sets up logs for the process. Without a `format`, logs are text on a terminal, and JSON otherwise.
pub fn init(format: Option<LogFormat>) -> Result<(), LogError> {
    use tracing_subscriber::util::SubscriberInitExt as _;
    let directives = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let filter = filter(&directives)?;
    let terminal = stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    match format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json }) {
        LogFormat::Text => builder.with_ansi(terminal).finish().try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_agents_are_never_logged() {
        for (directives, expected) in [
            ("", &["info", "rmcp=error"][..]),
            ("trace", &["trace", "rmcp=error"]),
            ("debug,rmcp=trace", &["debug", "rmcp=error"]),
            ("portcullis=debug", &["portcullis=debug", "rmcp=error"]),
        ] {
            let filter = filter(directives).unwrap().to_string();
            let mut found: Vec<&str> = filter.split(',').collect();
            found.sort_unstable();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(found, expected, "{directives}");
        }
        assert!(filter("a=b=c").is_err());
    }
}
