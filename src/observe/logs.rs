//! Logs: to standard error, by `tracing`.

use clap::ValueEnum;
use std::io::{IsTerminal as _, stderr};
use tracing_subscriber::EnvFilter;

/// What is logged where `RUST_LOG` says nothing. rmcp's own lines per request are too many, and its warnings repeat what
/// a client sent: a credential, where the client put it in the wrong place.
pub const DEFAULT_FILTER: &str = "info,rmcp=error";

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
    /// `RUST_LOG` is wrong.
    #[error("RUST_LOG cannot be read; write for instance RUST_LOG=info,portcullis=debug")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Set up twice.
    #[error("logs are already set up")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sets logs up for the process. Without a `format`: text on a terminal, else JSON.
pub fn init(format: Option<LogFormat>) -> Result<(), LogError> {
    use tracing_subscriber::util::SubscriberInitExt as _;
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(directives) if !directives.is_empty() => EnvFilter::try_new(directives)?,
        _ => EnvFilter::new(DEFAULT_FILTER),
    };
    let terminal = stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    match format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json }) {
        LogFormat::Text => builder.with_ansi(terminal).finish().try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}
