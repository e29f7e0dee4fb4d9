//! Grants and registrations as custom resources, kept with exactly the rights that servers have.

mod revocation;
mod store;
