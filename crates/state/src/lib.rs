//! The stores of grants, registrations, accounts and user rules: [`Local`] on one machine, [`Kubernetes`] in a cluster.
//!
//! Both implement the traits of `oauth` in the same way: writes go to the store, reads come from an index in memory that
//! watches the store. A grant that is deleted in the store, by any means, is refused from then on.

pub mod kubernetes;
pub mod local;
mod objects;
mod users;

pub use kubernetes::Kubernetes;
pub use local::Local;
