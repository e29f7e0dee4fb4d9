//! Where grants, registrations and what was said of users live: [`Local`] on one machine, [`Kubernetes`] in a cluster.
//!
//! Both implement `oauth`'s traits in the same way: writes go to the place, reads come from an index in memory that
//! follows the place. A grant that is deleted there, by whatever means, is refused from then on.

pub mod kubernetes;
pub mod local;
mod objects;
mod users;

pub use kubernetes::Kubernetes;
pub use local::Local;
