//! Portcullis: an endpoint through which AI agents work in development workspaces on Kubernetes.
//!
//! The program only: its parts are crates, which `docs/architecture.md` lists.

pub mod cli;
#[cfg(feature = "dev")]
pub mod dev;
