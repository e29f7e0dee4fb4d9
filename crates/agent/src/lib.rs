//! The workspace agent: runs commands, each in its own process group, and accesses files, over an HTTP service.
//!
//! The local backend uses it in process; in a pod it is the first process. It is not a sandbox: a command can do
//! whatever the user of this process can.

mod answer;
mod capture;
mod client;
mod command;
pub mod connect;
mod environment;
mod escaped_processes;
pub mod failed_program;
pub mod files;
mod group;
pub mod handover;
pub mod http2;
mod in_process;
pub mod init;
pub mod install;
mod journal;
pub mod listen;
mod output;
pub mod protocol;
mod reading;
mod record;
pub mod service;
mod stream;
mod text;
pub mod usage;

pub use capture::{Captured, Kept};
pub use client::{AgentError, AnswerBody, Client, LiveOutput, Lost, Repeat, Transport};
pub use command::{Job, OpenStdin, OutputFiles, Report, Started, start};
pub use environment::environment;
pub use in_process::InProcess;
pub use journal::Journal;
pub use output::OutputFolder;
pub use record::Record;
pub use stream::{Live, Sinks};
