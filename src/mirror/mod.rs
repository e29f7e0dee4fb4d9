//! What a server knows in memory of the objects that the API server keeps: a watch that notices when it is cut off, an
//! index that drops older news, how fresh it is, and times that are written back now and then.
//!
//! `state` keeps grants and registrations so, `workspaces` its workspaces and templates. Requests read memory only.

mod health;
mod index;
mod request;
mod times;
mod watch;

pub use health::Health;
pub(crate) use index::{Entry, Found, Index};
pub(crate) use request::{RequestError, request};
pub(crate) use times::{Keeper, Times};
pub(crate) use watch::Watch;

use kube::Resource;

/// `resourceVersion`s are numbers that grow: Kubernetes promises it since 1.35 (KEP-5504), and did so before.
pub(crate) fn version(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The name and the version of an object.
pub(crate) fn identity<K: Resource>(object: &K) -> (String, u64) {
    let metadata = object.meta();
    (metadata.name.clone().unwrap_or_default(), version(metadata.resource_version.as_deref()))
}
