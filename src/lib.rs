//! Portcullis: a guarded door between AI agents and workspaces on Kubernetes.
//!
//! `docs/architecture.md` has the plan of the house; the modules below are its rooms.

pub mod cli;
pub mod dev;
