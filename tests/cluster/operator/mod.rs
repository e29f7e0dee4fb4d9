//! The operator as its own process, with the rights of `deploy/rbac.yaml`.

mod credentials;
mod election;
mod interruptions;
mod logins;
mod memory;
mod objects;
mod rest;
mod servers;
pub mod stage;
