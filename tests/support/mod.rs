//! What the tests against a real control plane share.

pub mod controlplane;
pub mod process;
