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
pub use index::{Entry, Found, Index};
pub use request::{RequestError, request};
pub use times::{Keeper, Times};
pub use watch::Watch;

use kube::Resource;
use portcullis_api::version::resource_version;

/// The name and the version of an object. `None`: the version cannot be compared, so the object does not count.
pub fn identity<K: Resource>(object: &K) -> (String, Option<u64>) {
    (object.meta().name.clone().unwrap_or_default(), resource_version(object).ok())
}
