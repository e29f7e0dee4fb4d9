//! What runs inside a workspace: commands, each in a process group of its own.
//!
//! The local backend uses it in process. It is no sandbox: a command can do whatever the user of this process can.

mod answer;
mod capture;
mod client;
mod command;
pub mod files;
mod group;
pub mod place;
pub mod protocol;
pub mod usage;

pub use capture::{Captured, Kept};
pub use client::{AgentError, AnswerBody, Client, LiveOutput, Lost, Repeat, Transport};
pub use command::{Job, OutputFiles, Report, Started, start};
