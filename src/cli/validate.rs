//! `portcullis validate`: checks manifests offline, as `portcullis dev` and admission in a cluster do.

use super::dev::sources;
use crate::dev::{Validation, validate};
use clap::Args;
use serde_json::json;
use std::{
    io::{self, Write as _},
    path::PathBuf,
};

/// Check manifests without a cluster
///
/// Applies the schemas and rules of admission, and finds references to missing objects, unknown tools and faulty templates.
/// Prints one line for each problem, with file, line, document and field. The exit code is 1 if there is one.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  portcullis validate k8s/                             check every .yaml, .yml and .json file of a folder
  kustomize build . | portcullis validate -            check what another program prints
  portcullis validate --json k8s/ | jq .problems       for programs")]
pub struct ValidateArgs {
    /// Manifests: files, folders, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Print a JSON object with valid, objects, skipped and problems
    #[arg(long)]
    json: bool,
}

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
pub enum ValidateCommandError {
    /// Standard input cannot be read.
    #[error("standard input cannot be read")]
    Stdin(#[source] io::Error),
    /// Standard output was closed, or is full.
    #[error("standard output cannot be written")]
    Print(#[source] io::Error),
    /// The manifests have problems, which were printed.
    #[error("problems found: {0}; correct the manifests")]
    Invalid(usize),
}

/// Runs the command.
pub fn run(args: ValidateArgs) -> Result<(), ValidateCommandError> {
    let found = validate(&sources(args.paths).map_err(ValidateCommandError::Stdin)?);
    let report = if args.json { for_programs(&found) } else { for_people(&found) };
    io::stdout().lock().write_all(report.as_bytes()).map_err(ValidateCommandError::Print)?;
    match found.problems.len() {
        0 => Ok(()),
        problems => Err(ValidateCommandError::Invalid(problems)),
    }
}

fn for_programs(found: &Validation) -> String {
    let Validation { objects, skipped, problems } = found;
    let report = json!({"valid": problems.is_empty(), "objects": objects, "skipped": skipped, "problems": problems});
    format!("{report:#}\n")
}

fn for_people(found: &Validation) -> String {
    let mut report: String = found.problems.iter().map(|problem| problem.in_full() + "\n").collect();
    if found.problems.is_empty() {
        report = counted(found.objects, "valid object");
        if found.skipped > 0 {
            report = format!("{report}; not checked: {} of other kinds", counted(found.skipped, "document"));
        }
        report.push('\n');
    }
    report
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
