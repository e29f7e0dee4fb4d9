//! Where grants and registrations live: [`Local`] on one machine, [`Kubernetes`] in a cluster.
//!
//! Both implement `oauth`'s traits in the same way: writes go to the place, reads come from an index in memory that
//! follows the place. A grant that is deleted there, by whatever means, is refused from then on.

pub mod kubernetes;
pub mod local;
mod objects;

pub use kubernetes::Kubernetes;
pub use local::Local;
