//! The operator as its own process, with the rights of `deploy/rbac.yaml`.

mod conditions;
mod credentials;
mod definitions;
mod election;
mod exec;
mod exposure;
mod grants;
mod interruptions;
mod keys;
mod logins;
mod memory;
mod objects;
mod rest;
mod restore;
mod servers;
mod skew;
pub mod stage;
mod templates;
mod tools;
mod workspaces;
