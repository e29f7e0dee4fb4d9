//! `portcullis-agent`: the workspace agent.
//!
//! It is a separate program so that it is small: each node pulls it, and each workspace runs two processes of it.

mod arguments;
mod passwd;
mod run;
mod service;

use arguments::Request;
use portcullis_core::report::chain;
use std::{env, io, process::ExitCode};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The exit code for arguments that are not valid, as in clap.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let command = match arguments::parse(env::args_os().skip(1).collect(), env::var_os) {
        Ok(Request::Help) => {
            print!("{}", arguments::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Request::Version) => {
            println!("{} {}", env!("CARGO_BIN_NAME"), env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Ok(Request::Command(command)) => command,
        Err(error) => {
            eprintln!("error: {}; {} --help shows the arguments", chain(&error), env!("CARGO_BIN_NAME"));
            return ExitCode::from(USAGE);
        }
    };
    let ran = log().map_err(Into::into).and_then(|()| run::run(command));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Logs to standard error, as text: the log of the workspace agent is part of the workspace's log, together with the
/// output of the user's programs. `RUST_LOG` is not supported, because its filters take a megabyte of memory.
fn log() -> Result<(), tracing_subscriber::util::TryInitError> {
    let log = tracing_subscriber::fmt().with_max_level(LevelFilter::INFO).with_writer(io::stderr);
    log.with_ansi(false).finish().try_init()
}
