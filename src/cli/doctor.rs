//! `portcullis doctor`: examines an endpoint from outside, as a client sees it.

use clap::Args;
use portcullis_core::{clock::SystemClock, report::chain};
use portcullis_doctor::{self as doctor, Credentials, Origin, Report, Target};
use portcullis_outbound::OutboundError;
use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The largest file with a secret or with certificates.
const MAX_FILE: u64 = 1 << 20;
/// The exit code for wrong arguments, the same as clap's.
const USAGE: u8 = 2;

/// Diagnose an endpoint from the outside, as a client, and report the cause of each failure.
///
/// The checks range from DNS to a tool call. Every problem has a code, which docs/doctor.md explains. The exit code is
/// 0 if no check failed, 1 if a check failed, and 2 if the arguments are invalid.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// The URL of the endpoint, such as https://mcp.example.com/mcp.
    url: String,
    /// A client that may use client credentials, for the checks that need a token.
    #[arg(long, value_name = "ID", requires = "client_secret_file")]
    client_id: Option<String>,
    /// The file with the client's secret.
    #[arg(long, value_name = "FILE", requires = "client_id")]
    client_secret_file: Option<PathBuf>,
    /// The origin of web pages that must be able to use the endpoint. Repeatable. The origins of claude.ai and
    /// chatgpt.com are always checked, but may be refused: these agents connect from their own servers.
    #[arg(long = "origin", value_name = "ORIGIN")]
    origins: Vec<Origin>,
    /// Certificates (PEM) of CAs to trust in addition to the public ones.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Why nothing was examined.
#[derive(Debug, thiserror::Error)]
enum DoctorCommandError {
    /// A file cannot be read.
    #[error("{path} cannot be read; pass a file with {content} to {option}", path = path.display())]
    File { path: PathBuf, option: &'static str, content: &'static str, source: io::Error },
    /// A file is too large.
    #[error("{path} is larger than 1 MiB; pass a file with {content} to {option}", path = path.display())]
    FileTooLarge { path: PathBuf, option: &'static str, content: &'static str },
    /// The file with the secret has none.
    #[error("{path} is empty; it must contain the client's secret", path = path.display())]
    SecretEmpty { path: PathBuf },
    /// The client cannot be set up.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// The runtime cannot be started.
    #[error("the runtime could not be started")]
    Runtime(#[source] io::Error),
}

/// Runs the command.
#[must_use]
pub fn run(args: DoctorArgs) -> ExitCode {
    let json = args.json;
    match examine(args) {
        Ok(report) => print(&report, json),
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            ExitCode::from(USAGE)
        }
    }
}

fn examine(args: DoctorArgs) -> Result<Report, DoctorCommandError> {
    let credentials = match (args.client_id, args.client_secret_file) {
        (Some(client_id), Some(path)) => Some(Credentials { client_id, client_secret: secret(path)? }),
        _ => None,
    };
    let ca = args.ca.map(|path| read(&path, "--ca", "certificates in PEM")).transpose()?;
    let target = Target { url: args.url, credentials, origins: args.origins, ca };
    let examined = super::block_on(async { doctor::examine(&target, &SystemClock).await });
    Ok(examined.map_err(DoctorCommandError::Runtime)??)
}

/// The secret without the line break that editors append.
fn secret(path: PathBuf) -> Result<String, DoctorCommandError> {
    let text = read(&path, "--client-secret-file", "the client's secret")?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(DoctorCommandError::SecretEmpty { path });
    }
    Ok(secret.to_owned())
}

fn read(path: &Path, option: &'static str, content: &'static str) -> Result<String, DoctorCommandError> {
    let failed = |source| DoctorCommandError::File { path: path.to_owned(), option, content, source };
    let mut text = String::new();
    let size = File::open(path).map_err(failed)?.take(MAX_FILE + 1).read_to_string(&mut text).map_err(failed)?;
    if size as u64 > MAX_FILE {
        return Err(DoctorCommandError::FileTooLarge { path: path.to_owned(), option, content });
    }
    Ok(text)
}

fn print(report: &Report, json: bool) -> ExitCode {
    let text = if json { report.json().map(|text| format!("{text}\n")) } else { Ok(report.to_string()) };
    // A reader that closed the pipe, such as `head`, has seen enough. The exit code still tells the result.
    let written = text.map(|text| io::stdout().lock().write_all(text.as_bytes()));
    match (written, report.cause()) {
        (Err(error), _) => {
            eprintln!("error: {}", chain(&error));
            ExitCode::FAILURE
        }
        (Ok(_), Some(_)) => ExitCode::FAILURE,
        (Ok(_), None) => ExitCode::SUCCESS,
    }
}
