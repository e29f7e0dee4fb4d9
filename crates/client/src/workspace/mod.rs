//! Commands on workspaces, over the plain HTTP interface of the endpoint (docs/rest.md).

pub mod copy;
pub mod exec;
mod location;
mod rest;
mod table;
mod wire;

pub use location::{Location, LocationError};
pub use rest::{RestClient, WorkspaceError};
pub use table::process_table;
pub use wire::{Process, WorkspaceLogs};
