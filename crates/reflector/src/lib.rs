//! An in-memory copy of objects of the API server: watches that detect dead connections, an index that drops older
//! events, its freshness, and timestamps that are written in the background.
//!
//! `state` uses it for grants and registrations, `workspaces` for workspaces and templates. Requests read memory only.

mod health;
mod index;
mod request;
mod watch;
mod write_behind;

pub use health::Health;
pub use index::{Index, Indexed, Lookup};
pub use request::{RequestError, request};
pub use watch::Watch;
pub use write_behind::{StatusWriter, WriteBehind};

use kube::Resource;
use portcullis_api::version::resource_version;

/// The name and the version of an object. `None`: the version cannot be compared, so the object is ignored.
pub fn identity<K: Resource>(object: &K) -> (String, Option<u64>) {
    (object.meta().name.clone().unwrap_or_default(), resource_version(object).ok())
}
