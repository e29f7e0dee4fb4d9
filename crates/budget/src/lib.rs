//! The budget that requests share: permits, and memory for request bodies, answers of workspace agents and unsent
//! responses.
//!
//! [`Pool`] divides either of them fairly; [`Account`] is the memory of one request. A body or answer of at most
//! [`SMALL`] bytes is not charged: the permit of its request covers it, so that small requests never wait for large
//! ones.

mod account;
mod body;
mod pool;

pub use account::{Account, NoMemory};
pub use body::{Parts, ReadError, read};
pub use pool::{Holder, Holders, Pool, Taken, Unavailable};
pub use portcullis_core::limits::{BODY_COPIES, SMALL};
