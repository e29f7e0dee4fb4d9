//! Grants and registrations as custom resources, kept with exactly the rights that servers have.

mod away;
mod leaks;
mod offboarding;
mod races;
mod revocation;
mod stage;
mod store;
