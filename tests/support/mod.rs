//! What the tests against a real control plane share.

pub mod audit;
pub mod controlplane;
pub mod grants;
pub mod kubelet;
pub mod process;
pub mod proxy;
pub mod volume;
