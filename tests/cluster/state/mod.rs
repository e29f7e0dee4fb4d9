//! Grants and registrations as custom resources, kept with exactly the rights that servers have.

mod administration;
mod away;
mod leaks;
mod offboarding;
mod races;
mod revocation;
mod stage;
mod store;
