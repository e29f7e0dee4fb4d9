//! Portcullis: an MCP endpoint through which AI agents work in development workspaces on Kubernetes.
//!
//! This crate is the program only. Its parts are separate crates, which `docs/architecture.md` lists.

pub mod cli;
#[cfg(feature = "dev")]
pub mod dev;
