//! Clients that describe themselves: what a server fetches for them and what it never does, metadata documents, keys,
//! and registration. Documents come over real TLS from a web of the test's own.

use crate::{clock, mounted, web};

mod documents;
mod fetching;
mod registration;
mod server;
