//! Portcullis: a guarded door between AI agents and workspaces on Kubernetes.
//!
//! `docs/architecture.md` has the plan of the house; the modules below are its rooms.

pub mod addresses;
pub mod agent;
pub mod ambient;
pub mod api;
pub mod audit;
pub mod budget;
pub mod chain;
pub mod cli;
pub mod config;
pub mod dev;
#[cfg(test)]
mod fuzz;
mod heartbeat;
pub mod identity;
mod json;
pub mod mcp;
pub mod mirror;
pub mod names;
mod nearest;
pub mod oauth;
pub mod observe;
pub mod operator;
pub mod outbound;
pub mod pages;
pub mod plan;
pub mod rest;
pub mod server;
pub mod state;
pub mod tools;
pub mod workspaces;
