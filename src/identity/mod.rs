//! Who comes in, besides clients with a secret.

pub mod workload;
