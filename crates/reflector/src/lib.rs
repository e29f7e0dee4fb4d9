//! What a server knows in memory of the objects that the API server keeps: a watch that notices when it is cut off, an
//! index that drops older news, how fresh it is, and times that are written back now and then.
//!
//! `state` keeps grants and registrations so, `workspaces` its workspaces and templates. Requests read memory only.

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

/// The name and the version of an object. `None`: the version cannot be compared, so the object does not count.
pub fn identity<K: Resource>(object: &K) -> (String, Option<u64>) {
    (object.meta().name.clone().unwrap_or_default(), resource_version(object).ok())
}
