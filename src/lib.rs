//! Portcullis: a guarded door between AI agents and workspaces on Kubernetes.
//!
//! `docs/architecture.md` has the plan of the house; the modules below are its rooms.

pub mod cli;
pub mod dev;
mod heartbeat;
pub mod identity;
pub mod mcp;
pub mod oauth;
pub mod operator;
pub mod pages;
pub mod plan;
pub mod rest;
pub mod server;
pub mod state;
pub mod tools;
pub mod workspaces;
